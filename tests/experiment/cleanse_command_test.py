"""`pacd neural_cleanse` on a finished run: its table, its file, and what it refuses."""

import contextlib
import io
from unittest import mock

import finished_run
from absl.testing import absltest

from pacd_jax.defenses import neural_cleanse
from pacd_jax.experiment import cleanse_command
from pacd_jax.runtime import run_folder


def _call(*arguments):
  said, wrong = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
    status = cleanse_command.main([str(each) for each in arguments])
  return status, said.getvalue(), wrong.getvalue()


class CleanseTest(finished_run.FinishedRunTestCase):
  def test_a_table_and_a_file_that_the_next_goes_on_with(self):
    workdir = self.copy_finished()
    given = workdir, "--steps=5", "--num_images=40", "--victims=1"
    status, said, _ = _call(*given, "--rows=clean")
    self.assertEqual(status, 0)
    self.assertEqual(said.splitlines()[2].split()[:3], ["clean", "0", "-"])
    before = run_folder.read_json(workdir / "neural_cleanse.json")
    self.assertLen(before["victims"], 1)
    self.assertLen(before["victims"][0]["norms"], 10)
    with mock.patch.object(
      neural_cleanse, "find", side_effect=neural_cleanse.find
    ) as searched:
      status, said, _ = _call(*given, "--rows=pacd")
    self.assertEqual((status, searched.call_count), (0, 1))
    self.assertIn("Without the row clean there is nothing to compare", said)
    after = run_folder.read_json(workdir / "neural_cleanse.json")
    self.assertEqual([each["data"] for each in after["victims"]], ["clean", "pacd"])
    self.assertEqual(after["victims"][0], before["victims"][0])
    with mock.patch.object(neural_cleanse, "find", side_effect=AssertionError):
      self.assertEqual(_call(*given, "--rows=clean,pacd")[0], 0)

  def test_what_is_refused(self):
    for arguments, message in (
      ((self.finished, "--rows=no"), "--rows=no: the run has clean, classwise"),
      ((self.finished, "--victims=3"), "--victims=3: each row of the run has 2"),
      ((self.finished, "--steps=0"), "--steps=0: use a whole number from 1"),
      ((self.workdir,), "is no run's config: give the folder of a run"),
    ):
      status, _, wrong = _call(*arguments)
      self.assertEqual(status, 2)
      self.assertRegex(wrong, rf"\Aerror: [^\n]*{message}[^\n]*\n\Z")
    self.assertFalse((self.finished / "neural_cleanse.json").exists())


if __name__ == "__main__":
  absltest.main()
