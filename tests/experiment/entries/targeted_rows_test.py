"""Targeted rows, from the config to the poison file, the victims and the results."""

import functools
import itertools
import json
import pathlib
import tempfile

import asked
import finished_run
import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import errors, types
from pacd_jax.data import poison_file
from pacd_jax.experiment import kinds, stages
from pacd_jax.models import last_layer

_ROWS = tuple(row.name for row in kinds.ROWS if row.is_targeted)
_NUM = 6  # Images that each changes.
_SHORT = {"num_images": _NUM, "surrogate_steps": 3, "num_steps": 3}


def _config(**changes):
  """The smallest run of all targeted rows on the first test image of another class."""
  config = finished_run.smoke(rows=("clean", *_ROWS))
  config.model.name = "mlp"
  config.gradient_matching.num_restarts = 2
  for row in _ROWS:
    config[row].update(_SHORT | {"target": _target()})
  config.update_from_flattened_dict(changes)
  return config


@functools.cache
def _splits():
  return asked.build(finished_run.smoke(), "unused").splits


def _target():
  return int(np.flatnonzero(_splits().test.labels != 8)[0])


@functools.cache
def _plan():
  return asked.build(_config(), "unused")


def _training_image(splits, split):
  """Splits whose first target of `split` is also a training image."""
  images = splits.train.images.copy()
  images[7] = splits.named(split).images[_target()]
  return splits._replace(train=splits.train._replace(images=images))


class TargetedRowsTest(parameterized.TestCase):
  @parameterized.parameters(*_ROWS)
  def test_makes_a_poison_of_the_class_that_names_its_target(self, row):
    plan = _plan()
    made = plan.training_sets.made(plan.baselines[row]())
    self.assertEqual(made.goal, types.Goal(8, (_target(),)))
    np.testing.assert_array_equal(made.indices, plan.poisoned[:_NUM])
    np.testing.assert_array_equal(made.labels, np.full(_NUM, 8))
    self.assertTrue(made.clean_label)
    apart = np.abs(made.images.astype(int) - made.base_images).max(axis=(1, 2, 3))
    self.assertBetween(apart.min(), 1, plan.budget.epsilon * 255)

  def test_rows_share_the_attackers_network(self):
    found = []
    fake = jax.tree.map(
      lambda leaf: np.zeros(leaf.shape[1:], np.float32), _plan().first_victims().params
    )

    def make(row, frozen=None):
      tools = kinds.RowTools(
        row=row,
        splits=_splits(),
        target_class=8,
        poisoned=_plan().poisoned,
        key=jax.random.key(0),
        epsilon=0.1,
        norm="linf",
        attack_settings=lambda: pytest.fail("not reached"),
        attack_data=lambda: pytest.fail("not reached"),
        clean_network=lambda *given: found.append(given) or fake,
        frozen=frozen,
      )
      options = _plan().config.rows.options[row]
      with self.assertRaises(pytest.fail.Exception):
        kinds.ROWS[row].make(tools, options)

    for row in _ROWS:
      make(row)
    self.assertEqual(found, [(0, 3)] * len(_ROWS))
    make(_ROWS[0], last_layer.Frozen(fake, lambda: found.append("frozen") or fake))
    self.assertEqual(found[-1], "frozen")

  @parameterized.parameters(
    ({"feature_collision.target": 100_000}, "target is 100000, but the test split of"),
    ({"bullseye_polytope.target": "own"}, "is of class 8 already, .*use a point such as"),
    ({"gradient_matching.num_images": 10_000}, "num_images is 10000, .*use at most 104"),
    (
      {"feature_collision.num_images": 53, "attack.poisoned_fraction": 0.5},
      r"change 52 images of class 8 \(attack.poisoned_fraction=0.5\): use at most 52",
    ),
    ({"feature_collision.opacity": 1.5}, r"opacity is 1.5: it must be in \[0, 1\]"),
    ({"feature_collision.opacity": -0.1}, r"opacity is -0.1: it must be in \[0, 1\]"),
    (
      {"model.name": "linear", "train.frozen_features": "train"},
      "model.name=linear has no layer before its last, whose features",
    ),
    ({"train.frozen_features": "test"}, "train, validation, or empty"),
    (
      {"train.frozen_features": "train", "train.clip_norm": 1.0},
      "frozen_features is 'train' and train.clip_norm is 1.0, which is for networks",
    ),
    (
      {"train.frozen_features": "validation", "train.batch_size": 1000},
      "train.frozen_features is 'validation', which has .* use a smaller one",
    ),
  )
  def test_bad_input(self, changes, message):
    own = int(np.flatnonzero(_splits().test.labels == 8)[0])
    changes = {name: own if value == "own" else value for name, value in changes.items()}
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      asked.build(_config(**changes), "unused", lambda *args, **kwargs: _splits())
    self.assertNotIn("\n", str(caught.exception))

  def test_a_target_in_the_training_set(self):
    there = _training_image(_splits(), "test")
    with self.assertRaisesRegex(errors.InputError, "but training image 7 is the same: use"):
      asked.build(_config(), "unused", lambda *args, **kwargs: there)

  def test_a_row_that_the_run_has_not_may_have_any_target(self):
    asked.build(_config(rows=("clean",), **{"feature_collision.target": 10**6}), "unused")

  def test_options_of_a_given_poison_s_row_are_not_looked_at(self):
    """Neither its target, which is of the poison's class here, nor the network."""
    own = int(np.flatnonzero(_splits().test.labels == 8)[0])
    config = _config(rows=("clean", "feature_collision"))
    config.model.name, config.feature_collision.target = "linear", own
    with self.assertRaisesRegex(errors.InputError, "is of class 8 already"):
      asked.build(config, "unused")
    config.poisons.feature_collision = "theirs.npz"
    asked.build(config, "unused")

  def test_a_row_of_features_needs_a_network_that_shows_some(self):
    entry = kinds.NETWORKS["mlp"]

    def blind(tools, options):
      return entry.make(tools, options)._replace(features=None)

    kinds.NETWORKS.add(kinds.Network("blind", blind, "shows no features"))
    self.addCleanup(kinds.NETWORKS.remove, "blind")
    with self.assertRaisesRegex(errors.InputError, "'feature_collision', which needs the"):
      asked.build(_config(**{"model.name": "blind"}), "unused")
    asked.build(_config(rows=("gradient_matching",), **{"model.name": "blind"}), "unused")
    given = _config(rows=_ROWS, **{"model.name": "blind"})
    given.poisons.update({row: "theirs.npz" for row in _ROWS})
    asked.build(given, "unused")


@pytest.mark.long
class WholeRunTest(parameterized.TestCase):
  @parameterized.parameters("", "train", "validation")
  def test_victims_and_results(self, features):
    path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), "run")
    config = _config(**{"train.frozen_features": features, "train.batch_size": 50})
    table = asked.run(config, path)
    self.assertIn("gradient_matching", table.split("its radius", 1)[1])
    plan = asked.build(config, path)
    victims = [*stages.load_victims(plan).values()]
    for one, other in itertools.pairwise(victims):
      for layer in ("Dense_0", "Dense_1", "Dense_2"):
        same = np.array_equal(one[layer]["kernel"], other[layer]["kernel"])
        self.assertEqual(same, bool(features) and layer != "Dense_2")
    rows = json.loads((path / "results.json").read_text())["rows"]
    self.assertEqual([row["data"] for row in rows], ["clean", *_ROWS])
    for row in rows:
      goal = row["goal"]  # Clean victims' too: a control.
      self.assertEqual((goal["label"], goal["num_points"]), (8, 1))
      self.assertLen(goal["success"], 2)
      if row["data"] != "clean":
        poison = poison_file.load(path / "poison" / f"{row['data']}.npz")
        self.assertEqual(poison.goal.points, (_target(),))


if __name__ == "__main__":
  absltest.main()
