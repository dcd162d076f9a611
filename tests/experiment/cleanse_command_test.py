"""`pacd neural_cleanse` on a finished run: its table, its file, and what it refuses."""

import contextlib
import io
import shutil
from unittest import mock

import finished_run
import numpy as np
from absl.testing import absltest, parameterized

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
    given = workdir, "--steps=2", "--num_images=40"
    status, said, _ = _call(*given, "--rows=clean")
    self.assertEqual(status, 0)
    self.assertEqual(said.splitlines()[2].split()[:3], ["clean", "0", "-"])
    before = run_folder.read_json(workdir / "neural_cleanse.json")
    self.assertLen(before["victims"], 2)
    self.assertLen(before["victims"][0]["norms"], 10)
    with mock.patch.object(
      neural_cleanse, "find", side_effect=neural_cleanse.find
    ) as searched:
      status, said, _ = _call(*given, "--rows=pacd")
    self.assertEqual((status, searched.call_count), (0, 2))
    after = run_folder.read_json(workdir / "neural_cleanse.json")
    rows = [each["data"] for each in after["victims"]]
    self.assertEqual(rows, ["clean", "clean", "pacd", "pacd"])
    self.assertEqual(after["victims"][:2], before["victims"])
    self.assertEqual([line.split()[0] for line in said.splitlines()[2:6]], rows)
    with mock.patch.object(neural_cleanse, "find", side_effect=AssertionError):
      self.assertEqual(_call(*given, "--rows=pacd,clean")[0], 0)

  def test_the_indices_of_clean_victims_are_beside(self):
    """The norms are made up: label 3 of a clean victim is flagged, and 8 of the others."""
    norms = np.arange(20.0, 30.0)

    def found(apply, params, images, num_classes, key, settings):
      small = norms.copy()
      small[next(labels)] = 1.0
      return neural_cleanse.Triggers(images, images, small, small > 0)

    labels = iter([3, 8, 8, 8])
    with mock.patch.object(neural_cleanse, "find", side_effect=found):
      _, said, _ = _call(self.copy_finished(), "--rows=classwise")
    lines = [line.split() for line in said.splitlines()]
    self.assertEqual([line[3] for line in lines[2:6]], ["3", "8", "8", "8"])
    self.assertEqual(lines[2][-1], "3")
    index = neural_cleanse.judge(np.where(np.arange(10) == 3, 1.0, norms)).index
    self.assertIn(f"Of clean victims the index is {index:.2f}, ", said)
    self.assertIn("2 of 2 are flagged", said)

  @parameterized.parameters(
    ("--rows=no", "--rows=no: the run has clean, classwise"),
    ("--victims=3", "--victims=3: each row of the run has 2"),
    ("--steps=0", "--steps=0: use a whole number from 1"),
    ("--num_images=x", "invalid int value: 'x': see pacd neural_cleanse --help"),
  )
  def test_what_is_refused(self, argument, message):
    self.assert_refused((self.finished, argument), message)
    self.assertFalse((self.finished / "neural_cleanse.json").exists())

  def test_folders_without_victims_are_refused(self):
    message = "is no run's config: give the folder of a run"
    self.assert_refused((self.workdir,), message)
    shutil.rmtree(self.copy_finished() / "checkpoints" / "train")
    self.assert_refused((self.workdir,), "has no checkpoints/train: run --stage=train")

  def assert_refused(self, arguments, message):
    status, _, wrong = _call(*arguments)
    self.assertEqual(status, 2)
    self.assertRegex(wrong, rf"\Aerror: [^\n]*{message}[^\n]*\n\Z")


if __name__ == "__main__":
  absltest.main()
