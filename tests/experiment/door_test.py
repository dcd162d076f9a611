"""A whole run of the smoke config: what it leaves, and the configs it refuses."""

import json
import tempfile
from unittest import mock

import asked
import finished_run
import jax
import long
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.data import poison_file, training_sets
from pacd_jax.experiment import door, stages
from pacd_jax.experiment.entries import data_sets
from pacd_jax.results import evaluate


class ExperimentTest(finished_run.FinishedRunTestCase):
  def test_folder_is_as_documented(self):
    files = {
      str(path.relative_to(self.finished))
      for path in self.finished.rglob("*")
      if path.is_file() and "checkpoints" not in path.parts
    }
    expected = {"config.json", "stamp.json", "metrics.jsonl", "results.json"}
    expected |= {"report/index.html"}
    poisons = finished_run.ROWS[1:]
    expected |= {f"poison/{row}.{end}" for row in poisons for end in ("npz", "json")}
    for row in finished_run.ROWS:
      stems = [f"certificates/{row}/seed_{k}" for k in range(2)]
      expected |= {
        f"{stem}.{end}" for stem in stems for end in ("tsv", "json", "counts.tsv")
      }
    self.assertLessEqual(expected, files)
    rest = {name for name in files - expected if not name.endswith(".png")}
    self.assertEqual(rest, {".lock"})

  def test_results_are_recomputed_from_the_certificates(self):
    results = json.loads((self.finished / "results.json").read_text())
    self.assertEqual([row["data"] for row in results["rows"]], list(finished_run.ROWS))
    for row in results["rows"]:
      records = evaluate.read_records(self.finished / "certificates" / row["data"])
      acrs = [
        np.where(record.predict == record.label, record.radius, 0.0).mean()
        for record in records
      ]
      np.testing.assert_allclose(row["acr"], acrs)
      np.testing.assert_allclose(row["acr_mean"], np.mean(acrs))
    for row in finished_run.ROWS:
      self.assertIn(row, self.table)

  @pytest.mark.long
  def test_a_folder_tells_its_plan(self):
    loaded = door.load(self.finished)
    built = asked.build(finished_run.smoke(), self.finished)
    self.assertEqual(loaded.rows, built.rows)
    self.assertEqual(loaded.folder.fingerprint, built.folder.fingerprint)
    with self.assertRaisesRegex(errors.InputError, "config.json is no run's config"):
      door.load(self.workdir)
    self.workdir.mkdir()
    (self.workdir / "config.json").write_text("{}")
    with self.assertRaisesRegex(errors.InputError, "config.json is no run's config"):
      door.load(self.workdir)

  @parameterized.parameters(*finished_run.ROWS[1:])
  def test_poison_touches_only_the_target_class_within_its_budget(self, row):
    poison = poison_file.load(self.finished / "poison" / f"{row}.npz")
    splits = data_sets.load("digits", seed=0)
    change = np.abs(poison.images.astype(int) - poison.base_images)
    self.assertLessEqual(change.max(), 0.1 * 255)
    self.assertGreater(change.max(), 0)
    poisoned = training_sets.poisoned(splits.train, poison)
    np.testing.assert_array_equal(poisoned.labels, splits.train.labels)
    moved = (poisoned.images != splits.train.images).any(axis=(1, 2, 3))
    self.assertTrue((splits.train.labels[moved] == 8).all())
    np.testing.assert_array_equal(poison.base_images, splits.train.images[poison.indices])

  def test_attack_logs_its_solves(self):
    lines = (self.finished / "metrics.jsonl").read_text().splitlines()
    attack = [r for r in map(json.loads, lines) if r["stage"] == "attack"]
    self.assertEqual([record["step"] for record in attack], list(range(6)))
    self.assertEqual([record["restart"] for record in attack], [1, 0, 0, 0, 1, 0])
    for name in (
      "num_steps",
      "relative_residual",
      "negative_curvature",
      "upper",
      "lower",
    ):
      self.assertIn(name, attack[0])

  def test_training_logs_every_victim(self):
    lines = (self.finished / "metrics.jsonl").read_text().splitlines()
    training = [r for r in map(json.loads, lines) if r["stage"] == "train"]
    self.assertEqual([record["step"] for record in training], [0, 1, 2])
    for name in ("loss", "accuracy"):
      by_row = [training[-1][f"{row}/{name}"] for row in finished_run.ROWS]
      self.assertEqual(np.shape(by_row), (4, 2))
      self.assertAlmostEqual(np.mean(by_row), training[-1][name], places=5)

  @pytest.mark.long
  def test_each_training_split_is_made_once(self):
    with mock.patch.object(
      training_sets, "poisoned", wraps=training_sets.poisoned
    ) as apply_poison:
      asked.run(finished_run.smoke(), self.workdir)
    self.assertEqual(apply_poison.call_count, 3)

  @pytest.mark.long
  def test_a_second_run_does_nothing_and_a_second_folder_gives_the_same(self):
    before = {p: finished_run.digest(p) for p in self.finished.rglob("*.tsv")}
    self.assertEqual(asked.run(finished_run.smoke(), self.finished), self.table)
    self.assertEqual(
      {p: finished_run.digest(p) for p in self.finished.rglob("*.tsv")}, before
    )
    for stage in stages.NAMES:
      asked.run(finished_run.smoke(), self.workdir, (stage,))
    for row in finished_run.ROWS[1:]:
      name = f"poison/{row}.npz"
      self.assertEqual(
        finished_run.digest(self.workdir / name), finished_run.digest(self.finished / name)
      )
    self.assertEqual(
      finished_run.results(self.workdir), finished_run.results(self.finished)
    )

  def test_every_attack_says_how_long_it_took(self):
    """In the results and beside the poison; PACD's time is that of its last line."""
    rows = json.loads((self.finished / "results.json").read_text())["rows"]
    seconds = {row["data"]: row["attack_seconds"] for row in rows}
    self.assertIsNone(seconds.pop("clean"))
    for row, took in seconds.items():
      self.assertGreater(took, 0.0)
      beside = json.loads((self.finished / "poison" / f"{row}.json").read_text())
      self.assertEqual(beside["attack_seconds"], took)
    lines = map(json.loads, (self.finished / "metrics.jsonl").read_text().splitlines())
    last = [line["seconds"] for line in lines if line["stage"] == "attack"][-1]
    self.assertEqual(seconds["pacd"], last)

  @parameterized.parameters(
    "", "[]", '{"attack_seconds": "long"}', '{"attack_seconds": -1}'
  )
  def test_refuses_a_damaged_time(self, text):
    (self.copy_finished() / "poison" / "pacd.json").write_text(text)
    says = "is no JSON of a run|does not say how long the attack took"
    self.refuses(f"poison/pacd.json ({says}).*: delete it")

  @parameterized.parameters(
    ({"sigma": 0.0}, "sigma is 0.0"),
    ({"attack.epsilon": 0.001}, "attack.epsilon is 0.001"),
    ({"certify.alpha": 1.0}, "certify.alpha is 1.0"),
    ({"certify.n": 0}, "certify.n is 0"),
    ({"certify.n": 9}, "certify.n=9 cannot certify.*use n of at least 10"),
    ({"data.target_class": 10}, "data.target_class=10 has no image.*0, 1, 2"),
    ({"data.name": "svhn"}, "data.name.*svhn.*digits"),
    ({"data.name": "mnist", "data.data_dir": "/nowhere"}, "nowhere.*prepare mnist"),
    ({"model.name": "mnist_cnn"}, r"mnist_cnn.*\(8, 8, 1\)"),
    ({"attack.poison_batch": 1000}, "attack.poison_batch is 1000.*at most 104"),
    ({"train.batch_size": 5000}, "train.batch_size is 5000.*at most"),
    ({"certify.num_points": 50}, "certify.num_points is 50.*at most"),
  )
  def test_bad_config(self, overrides, message):
    self.refuses(message, finished_run.smoke(**overrides))
    self.assertFalse(self.workdir.exists())

  @parameterized.parameters(
    {
      "attack.norm": "l2",
      "attack.epsilon": 1.0,
      "attack.curvature": "hessian",
      "attack.loss": "standard",
      "train.loss": "standard",
    },
    {
      "attack.solver": "identity",
      "attack.starts": ("classwise",),
      "attack.num_shared_steps": 0,
      "attack.step_schedule": "linear",
      "train.schedule": "constant",
      "certify.split": "validation",
      "model.name": "mlp",
      "certify.mode": "aca",
    },
    {
      "data.augment": "crop_and_flip",
      "data.num_train": 400,
      "attack.clean_batch": 20,
      "attack.poison_batch": 4,
      "train.victims_at_once": 1,
      "certify.mode": "adaptive",
      "certify.dtype": "bfloat16",
    },
    {
      "train.mix": "mixup",
      "train.augment": "cutout",
      "train.cutout.size": 4,
      "train.noise": "fixed",
    },
    {"train.mix": "cutmix", "train.loss": "standard", "train.recovery_epochs": 1},
    {
      "train.loss": "macer",
      "train.macer.num_noise_samples": 2,
      "train.clip_norm": 1.0,
      "train.noise_multiplier": 0.1,
    },
    {
      "train.weight_decay_choices": (0, 0.1),
      "train.stopping.every": 1,
      "train.stopping.num_points": 3,
      "train.recovery_epochs": 1,
    },
  )
  @pytest.mark.long
  def test_every_choice_of_a_name_runs(self, **overrides):
    tiny = {"rows": ("pacd",), "attack.num_steps": 2, "train.num_epochs": 1}
    table = asked.run(finished_run.smoke(**tiny, **overrides), self.workdir)
    self.assertIn(overrides.get("certify.split", "test") + " points: 5", table)
    poison = poison_file.load(self.workdir / "poison" / "pacd.npz")
    self.assertGreater(np.abs(poison.images.astype(int) - poison.base_images).max(), 0)

  def test_unknown_field(self):
    config = finished_run.smoke()
    with config.unlocked():
      config.attack.epsilom = 0.1
    self.refuses("attack.epsilom is unknown.*attack.epsilon", config)

  @parameterized.parameters(
    ("attack.learning_rate", "attack", "stage attack, step"),
    ("train.learning_rate", "train", "stage train, step .*: clean/loss is"),
  )
  @long.after(0)
  def test_non_finite_loss_stops_the_run(self, field, stage, message):
    """Learning rates that overflow float32 in a few steps."""
    config = finished_run.smoke(**{field: 1e38})
    with self.assertRaisesRegex(errors.NonFiniteError, message):
      asked.run(config, self.workdir, ("attack", "train"))


class StreamsTest(absltest.TestCase):
  def test_purposes_have_different_streams(self):
    workdir = self.enterContext(tempfile.TemporaryDirectory())
    built = asked.build(finished_run.smoke(), workdir)
    keys = [built.attack.key, built.certify.key, built.train.keys[0]]
    words = {tuple(np.asarray(jax.random.key_data(key)).tolist()) for key in keys}
    self.assertLen(words, 3)


if __name__ == "__main__":
  absltest.main()
