"""Several targets, each attacked by itself: what is refused, run, and put in one table."""

import json
import pathlib
import tempfile

import asked
import finished_run
import ml_collections
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.experiment import door, target_specs
from pacd_jax.results import collect, target_table
from pacd_jax.suites import targeted

_ROWS = ("clean", "feature_collision", "gradient_matching")


def _config(targets=(1, 2), training=("scratch", "frozen"), **changes):
  base = finished_run.smoke(rows=_ROWS)
  base.model.name, base.train.batch_size = "mlp", 50
  for row in _ROWS[1:]:
    base[row].update({"num_images": 5, "surrogate_steps": 2, "num_steps": 2})
  base.gradient_matching.num_restarts = 1
  base.update_from_flattened_dict(changes)
  del base.poisons, base.data.data_dir, base.train.frozen_features
  del base.bullseye_polytope.target
  return ml_collections.ConfigDict(
    {"base": base, "targets": targets, "training": training, "data": {"data_dir": ""}}
  )


def _row(data, success, radius, own, seconds):
  goal = {"success": [success], "certified_success": [radius], "acr": [own]}
  row = {"data": data, "goal": goal, "attack_seconds": seconds, "n": 100, "alpha": 0.001}
  return row | {"split": "test"}


def _results(*rows):
  shared = {"dataset": "digits", "description": "digits", "target_class": 8}
  return shared | {"sigma": 0.25, "epsilon": 0.3, "norm": "linf", "rows": list(rows)}


class TargetsTest(parameterized.TestCase):
  def test_every_target_is_a_run_in_every_way_to_train(self):
    spec = door.parse(_config())
    self.assertIsInstance(spec, target_specs.Targets)
    suite = targeted.suite(spec, "there")
    ways = ("scratch", "frozen")
    names = [f"{way}/target_{number}" for way in ways for number in (1, 2)]
    self.assertEqual([part.name for part in suite.parts], names)
    for part in suite.parts:
      way, number = part.name.split("/target_")
      features = {"scratch": "", "frozen": "train"}[way]
      self.assertEqual(part.config.train.frozen_features, features)
      for row in _ROWS[1:]:
        self.assertEqual(part.config.rows.options[row].target, int(number))

  @parameterized.parameters(
    ({"targets": ()}, r"targets is \(\): it must be one or more different positions"),
    ({"targets": (1, 1)}, "must be one or more different"),
    ({"targets": (1, -1)}, "it must be positions in the test split, such as"),
    ({"training": ("scratch", "warm")}, "use scratch and frozen, or one of them"),
    ({"rows": ("clean",)}, r"base.rows is .*use some of feature_collision, .*, and clean"),
    ({"rows": ("clean", "watermark")}, r"base.rows is .*use some of feature_collision"),
    ({"certify.n": 0}, "scratch/target_1: .*certify.n is 0"),
  )
  def test_bad_input(self, changes, message):
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      door.parse(_config(**changes))
    self.assertNotIn("\n", str(caught.exception))

  def test_fields_that_are_missing_or_unknown(self):
    config = _config()
    config.epsilons = (0.1,)
    with self.assertRaisesRegex(errors.InputError, "epsilons is unknown: a config of"):
      door.parse(config)
    del config.epsilons, config.training
    with self.assertRaisesRegex(errors.InputError, "field training is missing"):
      door.parse(config)

  def test_table(self):
    collected = target_table.collect(
      {
        "scratch/target_3": _results(
          _row("clean", 0.0, 0.0, 0.5, None), _row("matching", 1.0, 0.2, 0.0, 4.0)
        ),
        "scratch/target_7": _results(
          _row("clean", 0.0, 0.0, 0.3, None), _row("matching", 1.0, 0.0, 0.1, 6.0)
        ),
        "frozen/target_7": _results(
          _row("clean", 0.0, 0.0, 0.3, None), _row("matching", 0.0, 0.0, 0.25, 2.0)
        ),
      }
    )
    _, *lines = target_table.cells(collected)
    none = ("0 of 2", "0 of 2", "-", "0.400", "-")
    self.assertEqual(lines[0], ("scratch", "clean", *none))
    matched = ("2 of 2", "1 of 2", "0.200", "0.050", "5")
    self.assertEqual(lines[1], ("scratch", "matching", *matched))
    self.assertEqual(lines[3][:5], ("frozen", "matching", "0 of 1", "0 of 1", "-"))
    self.assertEqual(
      target_table.cells_of_targets(collected)[1:],
      [("3", "0", "1", "-", "-"), ("7", "0", "1", "0", "0")],
    )
    self.assertIn("2 targets, each attacked by itself", target_table.table(collected))

  def test_without_radii_there_are_none(self):
    """As in mode aca, which has no radius."""
    none = _results(_row("clean", 0.0, None, None, None))
    collected = target_table.collect({"scratch/target_3": none})
    cells = target_table.cells(collected)[1]
    self.assertEqual(cells, ("scratch", "clean", "0 of 1", "-", "-", "-", "-"))
    self.assertIn("also trains", " ".join(target_table.caption(collected)))

  @pytest.mark.long
  def test_whole(self):
    path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), "run")
    labels = door.build(door.parse(finished_run.smoke()), "unused").splits.test.labels
    others = tuple(map(int, np.flatnonzero(labels != 8)[:2]))
    table = asked.run(_config(others), path)
    self.assertIn("misled", table)
    found = json.loads((path / "results.json").read_text())["rows"]
    self.assertEqual([row["data"] for row in found], [*_ROWS, *_ROWS])
    for row in found:
      self.assertEqual(row["targets"], [*others])
      for target, success in zip(row["targets"], row["success"], strict=True):
        run = json.loads(
          (path / row["training"] / f"target_{target}" / "results.json").read_text()
        )
        own = next(each for each in run["rows"] if each["data"] == row["data"])
        self.assertEqual(own["goal"]["success"], success)
    lines = collect.collect([path])  # Of the runs, not of the table.
    self.assertLen({line["run"] for line in lines}, 4)
    self.assertLen(lines, 4 * len(_ROWS))
    page = (path / "report" / "index.html").read_text()
    for words in ("../scratch/target_", "Clean data are the control", "frozen, clean"):
      self.assertIn(words, page)
    # A further target is a further run.
    before = (path / "frozen" / f"target_{others[0]}" / "results.json").stat().st_mtime_ns
    asked.run(_config(others[:1], ("frozen",)), path)
    after = (path / "frozen" / f"target_{others[0]}" / "results.json").stat().st_mtime_ns
    self.assertEqual(before, after)


if __name__ == "__main__":
  absltest.main()
