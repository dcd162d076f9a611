"""Runs behind denoisers: who trains on poison, killed runs, and what is refused."""

import json
import pathlib
import shutil
import tempfile

import asked
import finished_run
import jax
import numpy as np
import pytest
import same_results
from absl.testing import absltest, parameterized

import pacd_jax
from pacd_jax import errors
from pacd_jax.certification import certificates
from pacd_jax.experiment import (
  config,
  denoise_stage,
  denoisers,
  door,
  identity,
  schema,
  stages,
  together,
  weights_command,
  words,
)
from pacd_jax.runtime import run_folder

_OPTIONS = {
  "rows": ("clean", "brightness"),
  "train.loss": "standard",
  "denoiser.loss": "mse",
  "denoiser.num_layers": 1,
  "denoiser.num_epochs": 3,
  "denoiser.save_every": 1,
}


def _config(**changes):
  return finished_run.smoke(**_OPTIONS | changes)


class CheckTest(parameterized.TestCase):
  @parameterized.parameters(
    ({"denoiser.loss": "none", "denoiser.poisons": "denoiser"}, "none trains no denoiser"),
    ({"train.ensemble.aggregation": "deep_partition"}, "aggregation is 'deep_partition'"),
    ({"train.stopping.every": 2}, "stopping.every is 2, .*: set train.stopping.every=0"),
    ({"denoiser.poisons": "neither"}, "must be one of both, classifier, denoiser"),
    ({"denoiser.width": 0}, "a whole number from 1"),
    ({"denoiser.stability.access": "none"}, "must be one of full, query"),
  )
  def test_fields_that_contradict_each_other(self, changes, message):
    values = {"denoiser.loss": "mse"} | changes
    with self.assertRaisesRegex(errors.InputError, message):
      flat = schema.flatten(schema.defaults()) | values
      together.check(schema.make(schema.nested(flat)))

  def test_a_batch_over_the_training_split_is_refused_at_once(self):
    with self.assertRaisesRegex(errors.InputError, "denoiser.batch_size is 5000, .* 1077"):
      asked.build(_config(**{"denoiser.batch_size": 5000}), "nowhere")

  def test_arrays_in_memory_have_no_denoiser(self):
    images = np.zeros((30, 4, 4, 1), np.uint8)
    data = pacd_jax.split_arrays(images, np.arange(30) % 2)
    changes = {"denoiser.loss": "mse", "train.batch_size": 5}
    with self.assertRaisesRegex(errors.InputError, "denoiser.loss needs a run"):
      pacd_jax.train_victims(data.train, pacd_jax.make_config("digits_ga", "", changes))


class PlanTest(absltest.TestCase):
  def test_it_says_in_words_what_is_certified(self):
    loss = {"denoiser.loss": "stability", "denoiser.stability.access": "query"}
    of = schema.replaced(config.Config(), loss | {"denoiser.poisons": "denoiser"})
    self.assertEqual(denoisers.named(of, "mlp"), "mlp behind a denoiser (stability, query)")
    self.assertRegex(words.remarks(of)[0], "denoisers alone are trained on each row's")
    self.assertEqual(denoisers.named(config.Config(), "mlp"), "mlp")
    self.assertEmpty(words.remarks(config.Config()))

  def test_runs_of_versions_without_denoisers_stay_the_same(self):
    values = schema.defaults()
    there = json.loads(json.dumps(values))  # As a config.json has them.
    earlier = {name: group for name, group in there.items() if name != "denoiser"}
    one, other = identity.Identity(values), identity.Identity(earlier)
    self.assertEqual(one.fingerprint, other.fingerprint)
    self.assertEqual(one.differences(earlier), "")

  def test_poisons_reach_what_they_are_to(self):
    clean, row = "clean", "brightness"
    for poisons, classifiers, sources in (
      ("both", (clean, row), (row,)),
      ("classifier", (clean, row), (row, clean)),
      ("denoiser", (clean,), (clean, row)),
    ):
      plan = asked.build(_config(**{"denoiser.poisons": poisons}), "nowhere")
      self.assertEqual(plan.classifier_rows, classifiers)
      self.assertEqual(plan.sources(row), sources)
      self.assertEqual(plan.sources(clean), (clean,))
      self.assertLen(plan.victims()[0], 2 * len(classifiers))


@pytest.mark.long
class RunTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def _victims(self, name):
    found = stages.load_victims(door.load(self.folder / name))
    return jax.tree.map(np.asarray, found)

  def test_a_killed_run_goes_on_to_what_an_unbroken_one_ends_with(self):
    asked.run(_config(), self.folder / "whole")
    shutil.copytree(self.folder / "whole", self.folder / "broken")
    broken = self.folder / "broken"
    for name in ("certificates", "checkpoints/denoise/3"):  # After two of three epochs.
      shutil.rmtree(broken / name)
    with self.assertRaisesRegex(errors.InputError, "denoisers have 2 of 3 epochs: run"):
      asked.run(_config(), broken, ("certify",))
    asked.run(_config(), broken)
    self.assertEmpty(same_results.differences(self.folder / "whole", broken))
    one, other = self._victims("whole"), self._victims("broken")
    jax.tree.map(np.testing.assert_array_equal, one, other)
    before = (broken / "metrics.jsonl").stat().st_mtime_ns
    shutil.rmtree(broken / "certificates")
    asked.run(_config(), broken, ("certify",))  # Nothing is trained again.
    self.assertEqual((broken / "metrics.jsonl").stat().st_mtime_ns, before)
    page = (broken / "report" / "index.html").read_text(encoding="utf-8")
    for each in ("behind a denoiser (mse)", "Its denoisers leave"):
      self.assertIn(each, page)

  @parameterized.parameters("both", "classifier", "denoiser")
  def test_which_of_the_two_a_row_changes(self, poisons):
    changes = {"denoiser.poisons": poisons, "denoiser.loss": "mse"}
    asked.run(_config(**changes), self.folder / "run", ("attack", "train", "certify"))
    found = self._victims("run")
    one, other = found["clean", 1], found["brightness", 1]

    def same(a, b):
      leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
      return all(np.array_equal(*each) for each in leaves)

    self.assertEqual(same(one.classifier, other.classifier), poisons == "denoiser")
    self.assertEqual(same(one.denoiser, other.denoiser), poisons == "classifier")
    plan = door.load(self.folder / "run")
    record = certificates.read(plan.folder.certificate("brightness", 1))
    row = plan.defended.checksum("brightness")
    of_classifier, of_denoiser = (
      record.sidecar[name] == row for name in ("trained_on", "denoiser_trained_on")
    )
    self.assertEqual(of_classifier, poisons != "denoiser")
    self.assertEqual(of_denoiser, poisons != "classifier")

  @parameterized.parameters(("full", 0), ("query", 3))
  def test_stability_sees_the_victim_or_surrogates(self, access, num_surrogates):
    changes = {"denoiser.loss": "stability", "denoiser.stability.access": access}
    changes |= {"denoiser.stability.num_surrogates": 3}
    asked.run(_config(**changes), self.folder / "run", ("attack", "train"))
    plan, found = door.load(self.folder / "run"), self._victims("run")
    state, _ = denoise_stage._restored(plan)
    teachers = jax.tree.leaves(state.params.teachers)
    own = jax.tree.leaves(found["brightness", 1].classifier)
    for seen, victim in zip(teachers, own, strict=True):
      self.assertLen(seen[3], num_surrogates or 1)
      is_there = [np.array_equal(each, victim) for each in np.asarray(seen[3])]
      self.assertEqual(any(is_there), access == "full")
      np.testing.assert_array_equal(seen[2][0] == seen[3][0], access == "query")
    shapes = {leaf.shape for leaf in jax.tree.leaves(found["clean", 0].denoiser)}
    self.assertEqual(shapes, {(3, 3, 1, 1), (1,)})

  def test_what_a_run_with_a_denoiser_refuses(self):
    asked.run(_config(), self.folder / "run")
    other = self.folder / "other"
    changes = {"denoiser.learning_rate": 0.01}
    with self.assertRaisesRegex(errors.InputError, "denoiser.learning_rate is 0.003 there"):
      asked.run(_config(**changes), self.folder / "run")
    asked.run(_config(**changes), other)
    stem = "certificates/brightness"
    shutil.rmtree(other / stem)
    shutil.copytree(self.folder / "run" / stem, other / stem)
    with self.assertRaisesRegex(errors.InputError, "belongs to another run"):
      asked.run(_config(**changes), other)
    with self.assertRaisesRegex(errors.InputError, "no victim without its denoiser"):
      weights_command._run(["export", str(self.folder / "run"), str(self.folder / "file")])

  def test_a_loss_that_is_not_finite_is_named(self):
    changes = {"denoiser.learning_rate": 1e38, "denoiser.num_layers": 3}
    with self.assertRaisesRegex(errors.NonFiniteError, "stage denoise, step .* is .*nan"):
      asked.run(_config(**changes), self.folder / "run", ("attack", "train"))

  def test_without_a_denoiser_files_say_nothing_of_one(self):
    changes = {"denoiser.loss": "none"}
    asked.run(_config(**changes), self.folder / "run")
    plan = door.load(self.folder / "run")
    sidecar = certificates.read(plan.folder.certificate("clean", 0)).sidecar
    named = [name for name in sidecar if "denoise" in name or "noise_left" in name]
    self.assertEmpty(named)
    results = run_folder.read_json(plan.folder.results)
    self.assertNotIn("denoise", str(results))


if __name__ == "__main__":
  absltest.main()
