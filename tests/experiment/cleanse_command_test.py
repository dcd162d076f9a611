"""`pacd neural_cleanse` on a finished run: its table, its file, and what it refuses."""

import contextlib
import io
import shutil
from unittest import mock

import finished_run
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import types
from pacd_jax.defenses import neural_cleanse
from pacd_jax.experiment import cleanse_command, goals
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
    self.assertEqual([line[6] for line in lines[2:6]], ["3", "8", "8", "8"])
    self.assertEqual(lines[2][3:6], ["10", "of", "10"])
    self.assertEqual(lines[2][-1], "3")
    self.assertNotIn("--steps", said)
    small = np.where(np.arange(10) == 3, 1.0, norms)
    index = neural_cleanse.judge(small, small > 0).index
    self.assertIn(f"Of clean victims the index is {index:.2f}, ", said)
    self.assertIn("2 of 2 are flagged", said)

  def test_labels_that_are_not_reached_are_said(self):
    def found(apply, params, images, num_classes, key, settings):
      reached = np.arange(10) < 4
      return neural_cleanse.Triggers(images, images, np.arange(20.0, 30.0), reached)

    with mock.patch.object(neural_cleanse, "find", side_effect=found):
      _, said, _ = _call(self.copy_finished(), "--rows=clean", "--victims=1")
    line = said.splitlines()[2].split()
    self.assertEqual(line, ["clean", "0", "-", "4", "of", "10", *"-----"])
    self.assertIn("use more --steps", said)

  def test_a_file_that_is_damaged(self):
    workdir = self.copy_finished()
    given = workdir, "--steps=1", "--num_images=8", "--rows=clean", "--victims=1"
    self.assertEqual(_call(*given)[0], 0)
    path = workdir / "neural_cleanse.json"
    whole = run_folder.read_json(path)
    victim = dict(whole["victims"][0])
    del victim["reached"]
    for victims in ([victim], [1], None):
      run_folder.write_json(path, whole | {"victims": victims})
      self.assert_refused(given, "neural_cleanse.json is damaged, or of another version")
    del whole["victims"]
    run_folder.write_json(path, whole)
    self.assert_refused(given, "neural_cleanse.json is damaged, or of another version")

  def test_clean_victims_have_no_attacker_s_label(self):
    """Though a run with targets has a control on them."""
    wanted = types.Goal(8, (1,))

    def found(apply, params, images, num_classes, key, settings):
      norms = np.arange(20.0, 30.0)
      return neural_cleanse.Triggers(images, images, norms, norms > 0)

    with (
      mock.patch.object(neural_cleanse, "find", side_effect=found),
      mock.patch.object(goals, "of", return_value=wanted),
    ):
      _, said, _ = _call(self.copy_finished(), "--rows=pacd", "--victims=1")
    lines = [line.split()[:3] for line in said.splitlines()[2:4]]
    self.assertEqual(lines, [["clean", "0", "-"], ["pacd", "0", "8"]])

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
