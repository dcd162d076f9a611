"""The attack from several starts, and the choice among its poisons."""

import contextlib
import io
import json
import pathlib
import tempfile
from unittest import mock

import asked
import finished_run
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.data import poison_file
from pacd_jax.experiment import assembly, candidates, search, selection

_STARTS = ("clean", "classwise", "away")


def _config(**overrides):
  options = {
    "rows": ("pacd",),
    "attack.starts": _STARTS,
    "attack.selection.every": 4,
    "attack.selection.corners": True,
    "attack.selection.n": 100,
    "attack.num_steps": 6,
    "attack.num_shared_steps": 6,
  }
  return finished_run.smoke(**(options | overrides))


def _attack(config, workdir):
  """Runs the attack; returns what it says."""
  said = io.StringIO()
  with contextlib.redirect_stderr(said):
    asked.run(config, workdir, ("attack",))
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
    found = [each["name"] for each in self.selection["candidates"]]
    steps = ("0", "4", "6", "6_corners")
    expected = [f"{start}_{step}" for start in _STARTS for step in steps]
    self.assertEqual(found, expected[1:])  # Clean images are no poison.
    for each in self.selection["candidates"]:
      self.assertLen(each["acr"], 2)
      self.assertGreater(each["seconds"], 0.0)
      self.assertEqual(each["attack_seconds"] > 0, each["step"] > 0)

  def test_starts_are_what_they_say(self):
    shift, away = (
      self.poison(f"candidates/{start}_0").images.astype(int) for start in _STARTS[1:]
    )
    base = self.poison("pacd").base_images.astype(int)
    np.testing.assert_array_less(0, np.abs(shift - base).max())
    inside = (base > 30) & (base < 220)
    np.testing.assert_array_equal((shift - base)[inside], (base - away)[inside])

  def test_corners_take_the_last_poison_to_the_ends_of_its_budget(self):
    corners = self.poison("candidates/clean_6_corners")
    base = corners.base_images.astype(int)
    moved = corners.images - base
    inside = (base >= 25) & (base <= 230)
    self.assertEqual(set(np.abs(moved[inside])), {25})  # floor(255 epsilon) levels.
    brighter, darker = (moved > 0).any(axis=0), (moved < 0).any(axis=0)
    np.testing.assert_array_equal(brighter & darker, False)  # The class shares it.
    np.testing.assert_array_equal((brighter | darker)[inside.any(axis=0)], True)

  def test_keeps_the_poison_of_the_lowest_acr(self):
    best = min(self.selection["candidates"], key=lambda each: np.mean(each["acr"]))
    chosen = best["name"]
    self.assertEqual(self.selection["chosen"], chosen)
    np.testing.assert_array_equal(
      self.poison("pacd").images, self.poison(f"candidates/{chosen}").images
    )

  def test_every_start_is_an_attack_of_its_own(self):
    with tempfile.TemporaryDirectory() as workdir:
      alone = {"attack.starts": ("away",), "attack.selection.every": 0}
      _attack(_config(**alone, **{"attack.selection.corners": False}), workdir)
      alone = poison_file.load(pathlib.Path(workdir, "poison", "pacd.npz"))
    np.testing.assert_array_equal(self.poison("candidates/away_6").images, alone.images)

  @parameterized.parameters(
    (4, 10, [(0, 4)]),
    (4, 4, [(0, 4)]),
    (4, 3, [(0, 2), (2, 4)]),
    (3, 1, [(0, 1), (1, 2), (2, 3)]),
  )
  def test_surrogates_are_trained_in_groups_of_about_one_size(self, number, most, groups):
    plan = mock.Mock()
    plan.attack.selection.at_once = most
    found = selection._groups(plan, number)
    self.assertEqual([(each.start, each.stop) for each in found], groups)

  @pytest.mark.long
  def test_goes_on_with_what_is_scored(self):
    (self.workdir / "poison" / "pacd.npz").unlink()
    before = self.selection["candidates"]
    half = {"candidates": [*before[:2], before[2] | {"acr": before[2]["acr"][:1]}]}
    (self.workdir / "selection.json").write_text(json.dumps(half))
    with mock.patch.object(selection, "_acrs", wraps=selection._acrs) as scored:
      _attack(_config(), self.workdir)
    self.assertEqual(scored.call_count, len(before) - 2)  # Both surrogates of a candidate.
    again = json.loads((self.workdir / "selection.json").read_text())
    self.assertEqual(
      [each["acr"] for each in again["candidates"]], [each["acr"] for each in before]
    )
    self.assertEqual(again["chosen"], self.selection["chosen"])

  @pytest.mark.long
  def test_a_candidate_that_is_made_anew_is_judged_anew(self):
    plan = asked.build(_config(), self.workdir)
    scores = selection.read_scores(plan)
    first = next(iter(scores))
    scores[first] |= {"sha256": "of another", "acr": [9.0, 9.0]}
    with (
      mock.patch.object(selection, "read_scores", return_value=scores),
      mock.patch.object(selection, "_acrs", return_value=[0.5, 0.5]) as scored,
      mock.patch.object(selection, "_write_scores"),
      contextlib.redirect_stderr(io.StringIO()),
    ):
      selection._score_all(plan, dict.fromkeys(scores, 1.0))
    self.assertEqual(scored.call_count, 1)
    self.assertEqual(scores[first]["acr"], [0.5, 0.5])

  @parameterized.parameters("{", "[]", '{"candidates": [{"start": "clean", "step": 4}]}')
  def test_a_damaged_record_is_refused_before_any_work(self, contents):
    with tempfile.TemporaryDirectory() as workdir:
      pathlib.Path(workdir, "selection.json").write_text(contents)
      with self.assertRaisesRegex(errors.InputError, "selection.json .*: delete it"):
        _attack(_config(), workdir)
      self.assertFalse(pathlib.Path(workdir, "metrics.jsonl").exists())

  def test_a_lost_candidate_says_how_to_make_it_again(self):
    plan = asked.build(_config(), self.workdir / "elsewhere")
    with self.assertRaisesRegex(errors.InputError, "delete checkpoints/attack"):
      plan.training_sets.candidate("clean_4")

  def test_a_poison_that_is_not_finite_is_none(self):
    plan = asked.build(_config(), self.workdir / "elsewhere")
    images = np.full((104, 8, 8, 1), np.nan, np.float32)
    with self.assertRaisesRegex(errors.NonFiniteError, "step 4: the poison clean_4 is nan"):
      candidates.save(plan, candidates.Candidate("clean", 4), images)

  @pytest.mark.long
  def test_baselines_may_be_candidates(self):
    """The candidate is the row's poison to the bit, and is judged as the others are."""
    with tempfile.TemporaryDirectory() as workdir:
      options = {
        "attack.selection.rows": ("watermark", "random"),
        "attack.starts": ("clean",),
      }
      options |= {"attack.selection.every": 0, "attack.selection.corners": False}
      _attack(_config(rows=("watermark", "random", "pacd"), **options), workdir)
      folder = pathlib.Path(workdir)
      judged = json.loads((folder / "selection.json").read_text())["candidates"]
      names = [each["name"] for each in judged]
      self.assertEqual(names, ["clean_6", "watermark_0_row", "random_0_row"])
      for row in ("watermark", "random"):
        candidate = poison_file.load(folder / f"poison/candidates/{row}_0_row.npz")
        own = poison_file.load(folder / f"poison/{row}.npz")
        np.testing.assert_array_equal(candidate.images, own.images)

  @parameterized.parameters("pacd", "clean", "no_such_row", "gradient_matching")
  def test_only_baselines_may_be(self, row):
    config = _config(**{"attack.selection.rows": (row,)})
    with self.assertRaisesRegex(
      errors.InputError, f"selection.rows has '{row}': use names"
    ):
      asked.run(config, "nowhere", ("attack",))

  def test_fresh_surrogates_train_as_the_attacker_assumes(self):
    """The loss is the attack's; the adversary's warm-up stays in epochs."""
    options = {"attack.loss": "smoothadv", "attack.adversary.warmup": 275}
    ramp = {"train.adversary.warmup": 2, "train.adversary.ramp": "step"}
    config = _config(**options, **ramp)
    with mock.patch.object(assembly.train, "make", wraps=assembly.train.make) as make:
      asked.build(config, "unused")
    warmups = [call.kwargs["adversary_warmup"] for call in make.call_args_list]
    adversaries = [call.args[1].adversary for call in make.call_args_list]
    self.assertEqual(warmups, [2, 2])
    ramps = [call.kwargs["adversary_ramp"] for call in make.call_args_list]
    self.assertEqual(ramps, ["step", "step"])
    self.assertCountEqual([a is None for a in adversaries], [True, False])

  def test_the_test_split_is_never_looked_at(self):
    plan = asked.build(_config(), self.workdir)
    chosen = plan.attack.selection
    self.assertIs(chosen.certify.dataset, plan.splits.validation)
    labels = plan.splits.validation.labels[chosen.certify.indices]
    self.assertTrue((labels == 8).all())
    self.assertEqual(chosen.train.num_epochs, plan.train.num_epochs)


class DefinitenessTest(absltest.TestCase):
  @pytest.mark.long
  def test_a_matrix_that_is_not_definite_is_told_once_with_the_remedy(self):
    config = _config(
      **{
        "attack.starts": ("clean",),
        "attack.selection.every": 0,
        "attack.selection.corners": False,
        "attack.curvature": "hessian",
        "attack.damping": 0.0,
        "attack.warmup_steps": 100,
        "model.name": "mlp",
      }
    )
    with tempfile.TemporaryDirectory() as workdir:
      said = _attack(config, workdir)
      lines = pathlib.Path(workdir, "metrics.jsonl").read_text().splitlines()
    self.assertGreater(max(json.loads(line)["negative_curvature"] for line in lines), 0)
    self.assertEqual(said.count("warning"), 1)
    self.assertRegex(said, "attack: warning: step .*not positive definite.*damping over")

  def test_nothing_is_told_where_it_does_not_matter(self):
    plan = asked.build(_config(**{"attack.solver": "normal_equations"}), "unused")
    self.assertIsNone(plan.attack.remedy)
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
      search._warn_once(None)("attack", 0, {"negative_curvature": 1.0})
    self.assertEmpty(said.getvalue())


if __name__ == "__main__":
  absltest.main()
