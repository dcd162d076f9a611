"""Commands with subcommands end with a status and one line."""

import contextlib
import errno
import io

from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.runtime import subcommand


def _run(command, *arguments):
  out, said = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
    status = subcommand.run(command, arguments)
  return status, out.getvalue(), said.getvalue()


class SubcommandTest(parameterized.TestCase):
  def test_what_a_command_says(self):
    self.assertEqual(_run(" ".join, "a", "b"), (0, "a b\n", ""))

  @parameterized.parameters(
    (errors.InputError("x is no y: use z"), 2, "x is no y: use z"),
    (FileNotFoundError(errno.ENOENT, "No such file", "x"), 2, "x: No such file"),
    (OSError(errno.EIO, "Reason"), 2, "Reason"),
    (OSError(errno.ENOSPC, "Full", "x"), 5, "x: Full: make room there, and the same .*"),
  )
  def test_errors(self, error, expected, words):
    def fail(arguments):
      raise error

    status, out, said = _run(fail)
    self.assertEqual((status, out), (expected, ""))
    self.assertRegex(said, rf"\Aerror: {words}\n\Z")

  def test_other_errors_are_the_programs(self):
    def fail(arguments):
      raise ValueError("a mistake of ours")

    with self.assertRaises(ValueError):
      _run(fail)

  def test_arguments_that_there_are_not(self):
    parser = subcommand.Parser(prog="pacd x", allow_abbrev=False)
    status, _, said = _run(lambda arguments: str(parser.parse_args(arguments)), "--y")
    self.assertEqual(status, 2)
    self.assertRegex(said, r"\Aerror: unrecognized arguments: --y: see pacd x --help\n\Z")


if __name__ == "__main__":
  absltest.main()
