"""A share of the class, chosen points and a recovery, all in one run: what each leaves."""

import contextlib
import io
import json
import pathlib
import shutil
import tempfile

import asked
import finished_run
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import absltest

from pacd_jax import errors
from pacd_jax.data import arrays, poison_file, training_sets
from pacd_jax.experiment import door, stages

_OPTIONS = {
  "rows": ("pacd",),
  "data.target_points": (15, 7),
  "attack.poisoned_fraction": 0.5,
  "attack.num_steps": 2,
  "attack.num_shared_steps": 1,
  "attack.warmup_steps": 100,  # The surrogate is right about the points, or none moves.
  "attack.val_batch": 2,
  "train.num_epochs": 2,
  "train.recovery_epochs": 2,
  "certify.num_points": 0,
}


def _params(workdir):
  """Of every victim, by row and seed, as NumPy's arrays."""
  return jax.tree.map(np.asarray, stages.load_victims(door.load(workdir)))


@pytest.mark.long
class FieldsTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls._temporary = tempfile.TemporaryDirectory()
    cls.workdir = pathlib.Path(cls._temporary.name, "run")
    asked.run(finished_run.smoke(**_OPTIONS), cls.workdir, ("attack", "train"))
    cls.plan = door.load(cls.workdir)
    cls.poison = poison_file.load(cls.workdir / "poison" / "pacd.npz")

  @classmethod
  def tearDownClass(cls):
    cls._temporary.cleanup()
    super().tearDownClass()

  def temporary(self):
    return pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), "run")

  def test_the_rest_of_the_class_stays_clean_to_the_bit(self):
    clean = self.plan.splits.train
    half = arrays.poisoned_indices(clean, 8, fraction=0.5)
    self.assertLen(half, 52)
    np.testing.assert_array_equal(self.poison.indices, half)
    moved = self.plan.training_sets.split("pacd").images != clean.images
    np.testing.assert_array_equal(np.flatnonzero(moved.any(axis=(1, 2, 3))), half)

  def test_victims_go_on_from_the_poison_to_the_clean_split(self):
    """By a trainer that knows of no recovery; no row is the clean one."""
    config = finished_run.smoke(**_OPTIONS)
    config.train.update({"num_epochs": 4, "recovery_epochs": 0})
    train = asked.build(config, "unused").train
    clean = self.plan.splits.train
    poisoned = training_sets.poisoned(clean, self.poison)
    data = training_sets.stack([poisoned, training_sets.whole(clean)])
    state = train.trainer.init(train.keys)
    for row in (0, 0, 1, 1):
      rows = jnp.full(2, row, jnp.int32)
      state, _ = train.trainer.epoch(state, data, rows, train.keys)
    for seed, victim in enumerate(_params(self.workdir).values()):
      expected = jax.tree.map(lambda leaf, k=seed: leaf[k], state.params)
      jax.tree.map(np.testing.assert_array_equal, victim, expected)

  @pytest.mark.long
  def test_metrics_say_which_epochs_are_of_the_recovery(self):
    lines = map(json.loads, (self.workdir / "metrics.jsonl").read_text().splitlines())
    epochs = [line for line in lines if line["stage"] == "train"]
    self.assertEqual([line["step"] for line in epochs], [0, 1, 2, 3])
    self.assertEqual([line["recovery"] for line in epochs], [False, False, True, True])

  @pytest.mark.long
  def test_goes_on_in_the_middle_of_the_recovery(self):
    """The last epoch is lost, and comes again."""
    workdir = pathlib.Path(shutil.copytree(self.workdir, self.temporary()))
    shutil.rmtree(workdir / "checkpoints" / "train" / "4")
    config, said = finished_run.smoke(**_OPTIONS), io.StringIO()
    with self.assertRaisesRegex(errors.InputError, "victims have 3 of 4 epochs"):
      asked.run(config, workdir, ("certify",))
    with contextlib.redirect_stderr(said):
      asked.run(config, workdir, ("train",))
    self.assertIn("train: going on from 3/4 epochs", said.getvalue())
    self.assertRegex(said.getvalue(), "train: 4/4 epochs .*recovery on clean data  loss")
    jax.tree.map(np.testing.assert_array_equal, _params(workdir), _params(self.workdir))

  @pytest.mark.long
  def test_a_recovery_without_a_poison_is_a_longer_training(self):
    """Under a rate that falls over all epochs, too."""
    found = []
    for num_epochs, recovery_epochs in ((3, 0), (1, 2)):
      epochs = {"train.num_epochs": num_epochs, "train.recovery_epochs": recovery_epochs}
      config = finished_run.smoke(rows=("clean",), **epochs)
      self.assertEqual(config.train.schedule, "cosine")
      workdir = self.temporary()
      asked.run(config, workdir, ("attack", "train"))
      found.append(_params(workdir))
    jax.tree.map(np.testing.assert_array_equal, *found)


if __name__ == "__main__":
  absltest.main()
