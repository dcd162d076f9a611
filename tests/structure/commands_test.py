"""The commands: each says what it is for, on one screen."""

import contextlib
import io

from absl.testing import absltest, parameterized

import pacd_jax
from pacd_jax import __main__ as pacd


def _call(*arguments):
  """Status and standard output; argparse leaves by SystemExit."""
  said = io.StringIO()
  with contextlib.redirect_stdout(said):
    try:
      status = pacd.main(list(arguments))
    except SystemExit as left:
      status = left.code or 0
  return status, said.getvalue()


class HelpTest(parameterized.TestCase):
  @parameterized.parameters((), *((name,) for name in pacd._COMMANDS))
  def test_is_a_screen_and_ends_with_0(self, *name):
    status, said = _call(*name, "--help")
    self.assertEqual(status, 0)
    lines = said.splitlines()
    self.assertBetween(len(lines), 3, 40)
    self.assertLess(max(map(len, lines)), 100)
    self.assertIn("pacd" if not name else name[0], said)

  @parameterized.parameters("run", "list", "render")
  def test_of_the_papers_own_commands(self, name):
    self.assertEqual(_call("paper", name, "--help")[0], 0)

  def test_the_version(self):
    self.assertEqual(_call("--version"), (0, f"pacd_jax {pacd_jax.__version__}\n"))

  def test_an_unknown_command(self):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
      self.assertEqual(pacd.main(["eat"]), 2)
    self.assertLen(said.getvalue().splitlines(), 1)
    self.assertIn("no command 'eat': use one of run, compare", said.getvalue())


if __name__ == "__main__":
  absltest.main()
