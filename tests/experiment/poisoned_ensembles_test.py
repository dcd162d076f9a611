"""Ensembles that are poisoned below their certificates: what is certified stays."""

import pathlib
import tempfile

import asked
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from configs import digits_aggregation
from pacd_jax.certification import certificates, poisoning
from pacd_jax.data import arrays, training_sets
from pacd_jax.experiment import door

_ROWS = ("clean", "brightness")


def _config(variant, num_images):
  """A few images of the class as bright as they can be."""
  config = digits_aggregation.get_config(f"smoke,{variant}".rstrip(","))
  config.rows = _ROWS
  config.attack.epsilon = 1.0
  train = door.build(door.parse(config), "/tmp/pacd_jax_never_made").splits.train
  of_class = len(arrays.class_indices(train, config.data.target_class))
  config.attack.poisoned_fraction = num_images / of_class
  config.train.num_epochs, config.train.learning_rate = 15, 0.02
  config.train.num_victims = 1
  config.train.ensemble.num_models = 18
  config.train.ensemble.finite_aggregation.spread = 2
  return config


class PoisonedEnsemblesTest(parameterized.TestCase):
  @parameterized.parameters(
    # By content a replaced image is two changes, one removed and one inserted.
    ("", 3, 3),
    ("finite", 1, 1),
    ("run_off", 3, 3),
    ("content", 1, 3),
  )
  @pytest.mark.long
  def test_no_certified_prediction_moves(self, variant, num_images, level):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), "run")
    asked.run(_config(variant, num_images), folder, ["attack", "train", "certify"])
    plan = door.load(folder)
    clean, poisoned = (
      training_sets.to_dataset(plan.training_sets.split(row)) for row in _ROWS
    )
    changed = (clean.images != poisoned.images).any(axis=(1, 2, 3)).sum()
    self.assertEqual(changed, num_images)
    np.testing.assert_array_equal(clean.labels, poisoned.labels)

    paths = [plan.folder.against_poison(row, 0) for row in _ROWS]
    before, after = map(poisoning.read, paths)
    self.assertTrue(
      (poisoning.read_orders(paths[0]) != poisoning.read_orders(paths[1])).any()
    )
    holds = before.radius >= level
    self.assertGreater(holds.mean(), 0.2)
    np.testing.assert_array_equal(after.predict[holds], before.predict[holds])

    # At the same noise, every vote that is counted at the level is there afterwards.
    at_level = certificates.read(plan.folder.certificate("clean", 0, level))
    now = certificates.read(plan.folder.certificate("brightness", 0))
    counted = at_level.counts[:, :-1]
    self.assertGreater(counted.sum(), 0)
    self.assertTrue((now.counts >= counted).all())


if __name__ == "__main__":
  absltest.main()
