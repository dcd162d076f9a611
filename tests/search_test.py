"""The attack from several starts, and the choice among its poisons."""

import contextlib
import io
import json
import pathlib
import tempfile
from unittest import mock

import finished_run
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors, experiment, poison_file, search

_STARTS = ("clean", "classwise", "away")


def _config(**overrides):
  options = {
    "rows": ("pacd",),
    "attack.starts": _STARTS,
    "attack.selection.every": 4,
    "attack.selection.n": 100,
    "attack.num_steps": 6,
  }
  return finished_run.smoke(**(options | overrides))


def _attack(config, workdir):
  """Runs the attack; returns what it says."""
  said = io.StringIO()
  with contextlib.redirect_stderr(said):
    experiment.run(config, workdir, ("attack",))
  return said.getvalue()


class SearchTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls._temporary = tempfile.TemporaryDirectory()
    cls.workdir = pathlib.Path(cls._temporary.name, "run")
    _attack(_config(), cls.workdir)
    cls.selection = json.loads((cls.workdir / "selection.json").read_text())

  @classmethod
  def tearDownClass(cls):
    cls._temporary.cleanup()
    super().tearDownClass()

  def poison(self, name):
    return poison_file.load(self.workdir / "poison" / f"{name}.npz")

  def test_candidates_are_the_starts_and_the_poisons_on_the_way(self):
    found = [(each["start"], each["step"]) for each in self.selection["candidates"]]
    expected = [(start, step) for start in _STARTS for step in (0, 4, 6)]
    self.assertEqual(found, expected[1:])  # Clean images are no poison.
    for each in self.selection["candidates"]:
      self.assertLen(each["acr"], 2)
      self.assertGreater(each["seconds"], 0.0)

  def test_starts_are_what_they_say(self):
    shift, away = (
      self.poison(f"candidates/{start}_0").images.astype(int) for start in _STARTS[1:]
    )
    base = self.poison("pacd").base_images.astype(int)
    np.testing.assert_array_less(0, np.abs(shift - base).max())
    inside = (base > 30) & (base < 220)
    np.testing.assert_array_equal((shift - base)[inside], (base - away)[inside])

  def test_keeps_the_poison_of_the_lowest_acr(self):
    best = min(self.selection["candidates"], key=lambda each: np.mean(each["acr"]))
    chosen = f"{best['start']}_{best['step']}"
    self.assertEqual(self.selection["chosen"], chosen)
    np.testing.assert_array_equal(
      self.poison("pacd").images, self.poison(f"candidates/{chosen}").images
    )

  def test_every_start_is_an_attack_of_its_own(self):
    with tempfile.TemporaryDirectory() as workdir:
      _attack(_config(**{"attack.starts": ("away",), "attack.selection.every": 0}), workdir)
      alone = poison_file.load(pathlib.Path(workdir, "poison", "pacd.npz"))
    np.testing.assert_array_equal(self.poison("candidates/away_6").images, alone.images)

  def test_goes_on_with_what_is_scored(self):
    (self.workdir / "poison" / "pacd.npz").unlink()
    before = self.selection["candidates"]
    half = {"candidates": [*before[:2], before[2] | {"acr": before[2]["acr"][:1]}]}
    (self.workdir / "selection.json").write_text(json.dumps(half))
    with mock.patch.object(search, "_score", wraps=search._score) as score:
      _attack(_config(), self.workdir)
    self.assertEqual(score.call_count, 2 * len(before) - 5)
    again = json.loads((self.workdir / "selection.json").read_text())
    self.assertEqual(
      [each["acr"] for each in again["candidates"]], [each["acr"] for each in before]
    )
    self.assertEqual(again["chosen"], self.selection["chosen"])

  def test_a_damaged_record_is_refused(self):
    poison = self.workdir / "poison" / "pacd.npz"
    contents, selection = poison.read_bytes(), self.workdir / "selection.json"
    poison.unlink()
    selection.write_text("{")
    with self.assertRaisesRegex(errors.InputError, "selection.json is damaged: delete it"):
      _attack(_config(), self.workdir)
    selection.write_text(json.dumps(self.selection))
    poison.write_bytes(contents)

  def test_the_test_split_is_never_looked_at(self):
    plan = experiment.build(_config(), self.workdir)
    selection = plan.attack.selection
    self.assertIs(selection.certify.dataset, plan.splits.validation)
    labels = plan.splits.validation.labels[selection.certify.indices]
    self.assertTrue((labels == 8).all())
    self.assertEqual(selection.train.num_epochs, plan.train.num_epochs)


class DefinitenessTest(parameterized.TestCase):
  @parameterized.parameters(("cg", True), ("identity", False))
  def test_a_matrix_that_is_not_definite_is_told_once(self, solver, needs_definite):
    config = _config(
      **{
        "attack.starts": ("clean",),
        "attack.selection.every": 0,
        "attack.solver": solver,
        "attack.curvature": "hessian",
        "attack.damping": 0.0,
        "attack.warmup_steps": 100,
        "model.name": "mlp",
      }
    )
    with tempfile.TemporaryDirectory() as workdir:
      said = _attack(config, workdir)
      lines = pathlib.Path(workdir, "metrics.jsonl").read_text().splitlines()
    met = [json.loads(line)["negative_curvature"] for line in lines]
    self.assertGreater(max(met), 0)
    self.assertEqual(said.count("not positive definite"), int(needs_definite))


if __name__ == "__main__":
  absltest.main()
