"""What a run's folder holds: damaged, missing or another run's, and then refused."""

import gc
import math
import shutil
from unittest import mock

import asked
import finished_run
import jax
import pytest
from absl.testing import absltest, parameterized

from pacd_jax.certification import votes
from pacd_jax.data import poison_file
from pacd_jax.experiment.entries import networks


class ChecksTest(finished_run.FinishedRunTestCase):
  def test_complete_certificates_need_no_victims(self):
    shutil.rmtree(self.copy_finished() / "checkpoints")
    self.assertEqual(asked.run(finished_run.smoke(), self.workdir), self.table)
    self.assertFalse((self.workdir / "checkpoints").exists())

  def test_a_lost_certificate_is_made_again_from_the_checkpoint(self):
    path = self.copy_finished() / "certificates" / "pacd" / "seed_1.tsv"
    before = path.read_text()
    for lost in path.parent.glob("seed_1.*"):
      lost.unlink()
    shutil.rmtree(self.workdir / "checkpoints" / "attack")
    asked.run(finished_run.smoke(), self.workdir, ("certify",))
    columns = [line.split("\t")[:5] for line in path.read_text().splitlines()]
    self.assertEqual(columns, [line.split("\t")[:5] for line in before.splitlines()])

  def test_victims_of_other_data(self):
    """One row's poison is replaced after training, before its certificate."""
    self.copy_finished()
    shutil.rmtree(self.workdir / "certificates")
    path = self.workdir / "poison" / "classwise.npz"
    poison = poison_file.load(path)
    poison_file.save(path, poison._replace(images=poison.base_images))
    self.refuses("classwise.npz is not the file that classwise.json is about")
    path.with_suffix(".json").unlink()
    self.refuses("train/3 belongs to another run: delete that folder")

  @parameterized.parameters(
    ("certify", "poison/classwise.npz is missing: run --stage=attack"),
    ("train", "poison/classwise.npz is missing: run --stage=attack"),
    ("report", "poison/classwise.npz is missing: run --stage=attack"),
  )
  def test_a_stage_without_the_one_before(self, stage, message):
    self.refuses(message, stage_names=(stage,))

  def test_victims_that_are_missing(self):
    asked.run(finished_run.smoke(), self.workdir, ("attack",))
    self.refuses("victims have 0 of 3 epochs: run --stage=train", stage_names=("certify",))
    self.refuses("clean is incomplete: run --stage=certify", stage_names=("report",))

  def test_a_refused_stage_leaves_the_folder_free_for_another_config(self):
    self.refuses("run --stage=train", finished_run.smoke(rows=("clean",)), ("certify",))
    asked.run(finished_run.smoke(rows=("clean",), seed=1), self.workdir, ("train",))

  def test_workdir_of_another_config(self):
    self.copy_finished()
    self.refuses(
      "another config.*attack.epsilon is 0.1 there and 0.2 here",
      finished_run.smoke(**{"attack.epsilon": 0.2}),
    )

  def test_truncated_poison(self):
    path = self.copy_finished() / "poison" / "pacd.npz"
    path.write_bytes(path.read_bytes()[:200])
    self.refuses("pacd.npz.*delete it and rerun --stage=attack")

  def test_foreign_poison(self):
    path = self.copy_finished() / "poison" / "pacd.npz"
    poison = poison_file.load(path)
    poison_file.save(path, poison._replace(checksum="0" * 64))
    self.refuses("pacd.npz was made for another training split.*checksum")

  def test_truncated_and_foreign_tsv(self):
    path = self.copy_finished() / "certificates" / "clean" / "seed_1.tsv"
    text = path.read_text()
    path.write_text("something else\n" + text)
    self.refuses("seed_1.tsv")
    path.write_text(text[: len(text) // 2])  # As a kill leaves it: goes on from there.
    asked.run(finished_run.smoke(), self.workdir)
    columns = [line.split("\t")[:5] for line in path.read_text().splitlines()]
    self.assertEqual(columns, [line.split("\t")[:5] for line in text.splitlines()])

  def test_certificates_of_another_run(self):
    other = self.temporary("other")
    asked.run(finished_run.smoke(seed=1, rows=("clean",)), other)
    self.copy_finished()
    shutil.rmtree(self.workdir / "certificates" / "clean")
    shutil.copytree(other / "certificates" / "clean", self.workdir / "certificates/clean")
    self.refuses("clean/seed_0.tsv belongs to another run .*delete both and rerun")

  # Orbax drops the other reads of a checkpoint whose one read failed; they complain.
  @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
  def test_damaged_checkpoints(self):
    """All that are there: one before the newest would do."""
    self.addCleanup(gc.collect)  # So that they complain here, not in a later test.
    for path in (self.copy_finished() / "checkpoints" / "train").rglob("*"):
      if path.is_file() and path.parent.name == "d":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (self.workdir / "certificates" / "clean" / "seed_0.tsv").unlink()
    (self.workdir / "certificates" / "clean" / "seed_0.json").unlink()
    self.refuses("checkpoint .*train/3 .*delete that folder")

  @pytest.mark.long
  def test_checkpoint_of_another_run(self):
    other = self.temporary("other")
    asked.run(finished_run.smoke(seed=1), other, ("attack",))
    shutil.copytree(other / "checkpoints", self.workdir / "checkpoints")
    self.refuses("attack/6 belongs to another run: delete that folder")

  @pytest.mark.long
  def test_a_noise_batch_that_does_not_fit(self):
    asked.run(finished_run.smoke(), self.workdir, ("attack", "train"))
    self.enter_context(mock.patch.object(votes, "free_bytes", lambda: 2**16))
    message = r"certify.batch_size=\d+ needs .* GiB free: use at most \d+"
    self.refuses(message, stage_names=("certify",))

  @parameterized.parameters(
    ("linear", (8, 8, 1)), ("small_cnn", (8, 8, 1)), ("mnist_cnn", (28, 28, 1))
  )
  def test_a_batch_that_is_not_looked_at_closely_would_fit(self, name, shape):
    """What is held for certain is less than what lets a batch pass without compiling."""
    model = networks.make(name, num_classes=10, image_shape=shape)
    params = jax.eval_shape(lambda key: model.init(key, shape), jax.random.key(0))
    passed = 4 * 500 * math.prod(shape) * votes._NUMBERS_PER_NUMBER
    needed = votes._temporary_bytes(model.apply, params, shape, "float32", 500)
    self.assertBetween(needed, 1, passed)


if __name__ == "__main__":
  absltest.main()
