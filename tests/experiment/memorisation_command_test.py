"""`pacd memorisation`: its numbers from a run's files, and what it refuses."""

import contextlib
import dataclasses
import io
import json
import pathlib
import shutil
import tempfile
from unittest import mock

import asked
import finished_run
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from configs import digits_memorisation
from pacd_jax.certification import certificates
from pacd_jax.data import poison_file
from pacd_jax.experiment import door, memorisation_command
from pacd_jax.results import memorisation_figures
from pacd_jax.runtime import run_folder


def _call(*arguments):
  """The exit status, and what it says."""
  said, wrong = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
    status = memorisation_command.main([str(each) for each in arguments])
  return status, said.getvalue(), wrong.getvalue()


class RowsTest(absltest.TestCase):
  def test_rows_change_the_whole_split_and_are_kept_whole(self):
    """What is saved is in no budget, and under the labels that the row gives."""
    with tempfile.TemporaryDirectory() as folder:
      config = digits_memorisation.get_config("smoke,model.name=linear")
      asked.run(config, folder, ("attack",))
      plan = door.load(folder)
      saved = {
        row: poison_file.load(plan.folder.poison(row))
        for row in plan.rows
        if row != "clean"
      }
      train = plan.splits.train
      for row, poison in saved.items():
        self.assertLen(poison.images, len(train.labels))
        relabels = row in ("corrupted_labels", "random_labels")
        self.assertEqual((poison.images == poison.base_images).all(), relabels, row)
        self.assertEqual((poison.labels == train.labels).all(), not relabels, row)
      wrong = (saved["random_labels"].labels != train.labels).mean()
      self.assertAlmostEqual(wrong, 0.9, delta=0.04)
      wrong = (saved["corrupted_labels"].labels != train.labels).mean()
      self.assertAlmostEqual(wrong, 0.45, delta=0.06)
      # The test images are shuffled as those of the row are.
      test = memorisation_command.test_points(plan, "shuffled_pixels").images
      orders = []
      for images, changed in (
        (train.images, saved["shuffled_pixels"].images),
        (plan.splits.test.images, test),
      ):
        columns = images.reshape(len(images), -1).T.astype(float)
        of_changed = changed.reshape(len(images), -1).T.astype(float)
        orders.append([(columns == each).all(axis=1).argmax() for each in of_changed])
      alive = train.images.reshape(len(train.images), -1).std(axis=0) > 1.0
      same = np.array(orders[0]) == np.array(orders[1])
      self.assertGreater((same | ~alive[orders[0]]).mean(), 0.9)
      self.assertIs(memorisation_command.test_points(plan, "clean"), plan.splits.test)


class MemorisationTest(finished_run.FinishedRunTestCase):
  def test_numbers_are_those_of_the_run_s_files(self):
    run, out = self.copy_finished(), self.workdir.with_name("out")
    status, said, wrong = _call(run, f"--out={out}", "--num_points=5")
    self.assertEqual(status, 0, wrong)
    made = run_folder.read_json(out / "memorisation.json")["runs"][str(run)]
    self.assertEqual([row["data"] for row in made["rows"]], list(finished_run.ROWS))
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    of_train = [each for each in epochs if each["stage"] == "train"]
    for row in made["rows"]:
      expected = [each[f"{row['data']}/accuracy"] for each in of_train]
      np.testing.assert_allclose(np.array(row["accuracy"]).T, expected)
      self.assertEqual(row["epochs_to_fit"], [None, None])
      for split in ("train", "test"):
        stem = run / "memorisation" / row["data"] / f"{split}_5"
        for seed in (0, 1):
          record = certificates.read(stem / f"seed_{seed}")
          self.assertLen(record.idx, 5)
          right = record.predict == record.label
          acr = np.where(right, record.radius, 0.0).mean()
          self.assertAlmostEqual(row[f"acr_{split}"][seed], acr)
    self.assertTrue((out / "memorisation.png").exists())
    self.assertRegex(
      said, r"\ntraining +data +99 % at +train % +test % +ACR train +ACR|^tr"
    )
    self.assertEqual(_call(run, f"--out={out}", "--num_points=5")[1], said)
    status, _, wrong = _call(run, f"--out={out}", "--num_points=4")
    self.assertEqual(status, 0, wrong)

  @pytest.mark.long
  def test_runs_of_the_same_training_are_told_apart(self):
    run, out = self.copy_finished(), self.workdir.with_name("out")
    other = pathlib.Path(shutil.copytree(run, self.workdir.with_name("other")))
    with mock.patch.object(
      memorisation_figures, "learning_curves", wraps=memorisation_figures.learning_curves
    ) as drawn:
      status, said, wrong = _call(run, other, f"--out={out}", "--num_points=1")
    self.assertEqual(status, 0, wrong)
    (panels, _), _ = drawn.call_args
    for path, title in zip((run, other), panels, strict=True):
      self.assertEndsWith(title, f", {path}")
      self.assertIn(f", {path} ", said)

  def test_the_first_epoch_that_is_fitted(self):
    self.assertEqual(memorisation_command.first_fitted(np.array([0.5, 0.99, 0.9])), 2)
    self.assertIsNone(memorisation_command.first_fitted(np.array([0.5, 0.98])))

  def _refuses(self, run, words):
    before = {path for path in run.rglob("*") if path.name != ".lock"}
    status, said, wrong = _call(run, f"--out={self.workdir.with_name('out')}")
    self.assertEqual((status, said), (2, ""))
    self.assertRegex(wrong, f"^error: .*{words}.*\n$")
    after = {path for path in run.rglob("*") if path.name != ".lock"}
    self.assertEqual(before, after)

  def test_runs_that_are_not_for_it(self):
    run = self.copy_finished()
    plan = door.load(run)
    replace = dataclasses.replace
    chain = replace(plan.config.defense.chain, names=("l2",))
    defended = replace(plan.config, defense=replace(plan.config.defense, chain=chain))
    for changes in ({"ensemble": mock.Mock()}, {"config": defended}):
      changed = replace(plan, **changes)
      with mock.patch.object(door, "load", return_value=changed):
        self._refuses(run, "ensembles, or trained on defended sets: give a run without")
    kept = (run / "metrics.jsonl").read_text()
    lines = [line for line in kept.splitlines() if json.loads(line)["stage"] != "train"]
    (run / "metrics.jsonl").write_text("\n".join([*lines, ""]))
    self._refuses(run, "metrics.jsonl has no epoch of clean")
    (run / "metrics.jsonl").unlink()
    self._refuses(run, "metrics.jsonl has no epoch of clean")
    (run / "metrics.jsonl").write_text(kept)
    values = run_folder.read_json(run / "config.json")
    values["certify"]["mode"] = "aca"
    run_folder.write_json(run / "config.json", values)
    self._refuses(run, "with certify.mode=aca, certifies no radius")

  def test_what_is_refused(self):
    out = self.workdir.with_name("out")
    there = self.workdir.with_name("there")
    there.mkdir()
    (there / "file").write_text("mine")
    for arguments, words in (
      (("/none",), "/none/config.json is no run's config"),
      ((self.finished, "--num_points=0"), "--num_points=0: use 1 to"),
      ((self.finished, "--num_points=9999"), "--num_points=9999: use 1 to"),
      ((self.finished, f"--out={there}"), "is there, and of something else"),
      ((self.finished, "--out=/dev/null/x"), "/dev/null is no folder that can be written"),
      ((), "the following arguments are required: RUN"),
    ):
      given = () if any("--out" in str(each) for each in arguments) else (f"--out={out}",)
      status, said, wrong = _call(*arguments, *given)
      self.assertEqual((status, said), (2, ""), words)
      self.assertRegex(wrong, f"^error: .*{words}")
      self.assertLen(wrong.splitlines(), 1)
    self.assertFalse(out.exists())
    self.assertFalse((pathlib.Path(self.finished) / "memorisation").exists())


class WholeRunTest(parameterized.TestCase):
  @pytest.mark.long
  def test_the_smoke_run_and_its_table(self):
    with tempfile.TemporaryDirectory() as folder:
      run = pathlib.Path(folder, "run")
      config = digits_memorisation.get_config("smoke,model.name=linear")
      asked.run(config, run)
      status, said, wrong = _call(run, f"--out={folder}/out", "--num_points=3")
      self.assertEqual(status, 0, wrong)
      self.assertEqual(said.count("never"), 6)


if __name__ == "__main__":
  absltest.main()
