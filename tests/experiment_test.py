"""A whole run of the smoke config: what it leaves, what it refuses."""

import gc
import hashlib
import json
import pathlib
import shutil
import tempfile

import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from configs import digits_ga
from pacd_jax import data, errors, evaluate, experiment, poison_file, stages

_ROWS = ("clean", "watermark", "classwise", "pacd")


def _smoke(**overrides):
  config = digits_ga.get_config("smoke")
  config.model.name = "linear"  # Compiles in a fraction of the CNN's time.
  config.update_from_flattened_dict(overrides)
  return config


def _digest(path: pathlib.Path) -> str:
  return hashlib.sha256(path.read_bytes()).hexdigest()


class ExperimentTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls._temporary = tempfile.TemporaryDirectory()
    cls.finished = pathlib.Path(cls._temporary.name, "finished")
    cls.table = experiment.run(_smoke(), cls.finished)

  @classmethod
  def tearDownClass(cls):
    cls._temporary.cleanup()
    super().tearDownClass()

  def setUp(self):
    super().setUp()
    self.workdir = self.temporary("run")

  def temporary(self, name: str) -> pathlib.Path:
    return pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), name)

  def files(self) -> dict[pathlib.Path, int]:
    """Every file of the run and when it was last written; the lock is no result."""
    paths = [path for path in self.workdir.rglob("*") if path.is_file()]
    return {path: path.stat().st_mtime_ns for path in paths if path.name != ".lock"}

  def copy_finished(self) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(self.finished, self.workdir))

  def refuses(self, message, config=None, stage_names=stages.NAMES):
    """The run ends with one line that holds `message`, and starts nothing."""
    before = self.files()
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      experiment.run(config or _smoke(), self.workdir, stage_names)
    self.assertNotIn("\n", str(caught.exception))
    self.assertEqual(before, self.files())

  def test_folder_is_as_documented(self):
    files = {
      str(path.relative_to(self.finished))
      for path in self.finished.rglob("*")
      if path.is_file() and "checkpoints" not in path.parts
    }
    expected = {"config.json", "metrics.jsonl", "results.json", "report/index.html"}
    expected |= {f"poison/{row}.npz" for row in _ROWS[1:]}
    for row in _ROWS:
      stems = [f"certificates/{row}/seed_{k}" for k in range(2)]
      expected |= {
        f"{stem}.{end}" for stem in stems for end in ("tsv", "json", "counts.tsv")
      }
    self.assertLessEqual(expected, files)
    rest = {name for name in files - expected if not name.endswith(".png")}
    self.assertEqual(rest, {".lock"})

  def test_results_are_recomputed_from_the_certificates(self):
    results = json.loads((self.finished / "results.json").read_text())
    self.assertEqual([row["data"] for row in results["rows"]], list(_ROWS))
    for row in results["rows"]:
      records = evaluate.read_records(self.finished / "certificates" / row["data"])
      acrs = [
        np.where(record.predict == record.label, record.radius, 0.0).mean()
        for record in records
      ]
      np.testing.assert_allclose(row["acr"], acrs)
      np.testing.assert_allclose(row["acr_mean"], np.mean(acrs))
    for row in _ROWS:
      self.assertIn(row, self.table)

  @parameterized.parameters(*_ROWS[1:])
  def test_poison_touches_only_the_target_class_within_its_budget(self, row):
    poison = poison_file.load(self.finished / "poison" / f"{row}.npz")
    splits = data.load("digits", seed=0)
    change = np.abs(poison.images.astype(int) - poison.base_images)
    self.assertLessEqual(change.max(), 0.1 * 255)
    self.assertGreater(change.max(), 0)
    poisoned = data.apply_poison(splits.train, poison)
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

  def test_a_second_run_does_nothing_and_a_second_folder_gives_the_same(self):
    before = {p: _digest(p) for p in self.finished.rglob("*.tsv")}
    self.assertEqual(experiment.run(_smoke(), self.finished), self.table)
    self.assertEqual({p: _digest(p) for p in self.finished.rglob("*.tsv")}, before)
    for stage in stages.NAMES:
      experiment.run(_smoke(), self.workdir, (stage,))
    for row in _ROWS[1:]:
      name = f"poison/{row}.npz"
      self.assertEqual(_digest(self.workdir / name), _digest(self.finished / name))
    results = [
      json.loads((p / "results.json").read_text()) for p in (self.workdir, self.finished)
    ]
    self.assertEqual(*results)

  @parameterized.parameters(
    ("certify", "poison/watermark.npz is missing: run --stage=attack"),
    ("train", "poison/watermark.npz is missing: run --stage=attack"),
    ("report", "poison/watermark.npz is missing: run --stage=attack"),
  )
  def test_a_stage_without_the_one_before(self, stage, message):
    self.refuses(message, stage_names=(stage,))

  def test_victims_that_are_missing(self):
    experiment.run(_smoke(), self.workdir, ("attack",))
    self.refuses(
      "row clean have 0 of 3 epochs: run --stage=train", stage_names=("certify",)
    )
    self.refuses("clean is incomplete: run --stage=certify", stage_names=("report",))

  @parameterized.parameters(
    ({"sigma": 0.0}, "sigma is 0.0"),
    ({"attack.epsilon": 0.001}, "attack.epsilon is 0.001"),
    ({"certify.alpha": 1.0}, "certify.alpha is 1.0"),
    ({"certify.n": 0}, "certify.n is 0"),
    ({"certify.n": 9}, "certify.n=9 cannot certify.*use n of at least 10"),
    ({"data.target_class": 10}, "data.target_class=10 has no image.*0, 1, 2"),
    ({"data.name": "mnist"}, "data.name='mnist'.*digits"),
    ({"model.name": "mnist_cnn"}, r"mnist_cnn.*\(8, 8, 1\)"),
    ({"attack.poison_batch": 1000}, "attack.poison_batch is 1000.*at most 104"),
    ({"train.batch_size": 5000}, "train.batch_size is 5000.*at most"),
    ({"certify.num_points": 50}, "certify.num_points is 50.*at most"),
  )
  def test_bad_config(self, overrides, message):
    self.refuses(message, _smoke(**overrides))
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
      "attack.start": "classwise",
      "attack.num_shared_steps": 0,
      "attack.step_schedule": "linear",
      "train.schedule": "constant",
      "certify.split": "validation",
      "model.name": "mlp",
    },
  )
  def test_every_choice_of_a_name_runs(self, **overrides):
    tiny = {"rows": ("pacd",), "attack.num_steps": 2, "train.num_epochs": 1}
    table = experiment.run(_smoke(**tiny, **overrides), self.workdir)
    self.assertIn(overrides.get("certify.split", "test") + " points: 5", table)
    poison = poison_file.load(self.workdir / "poison" / "pacd.npz")
    self.assertGreater(np.abs(poison.images.astype(int) - poison.base_images).max(), 0)

  def test_a_refused_stage_leaves_the_folder_free_for_another_config(self):
    self.refuses("run --stage=train", _smoke(rows=("clean",)), ("certify",))
    experiment.run(_smoke(rows=("clean",), seed=1), self.workdir, ("train",))

  def test_unknown_field(self):
    config = _smoke()
    with config.unlocked():
      config.attack.epsilom = 0.1
    self.refuses("attack.epsilom is unknown.*attack.epsilon", config)

  def test_workdir_of_another_config(self):
    self.copy_finished()
    self.refuses(
      "another config.*attack.epsilon is 0.1 there and 0.2 here",
      _smoke(**{"attack.epsilon": 0.2}),
    )

  def test_truncated_poison(self):
    path = self.copy_finished() / "poison" / "pacd.npz"
    path.write_bytes(path.read_bytes()[:200])
    self.refuses("pacd.npz.*delete it and rerun --stage=attack")

  def test_foreign_poison(self):
    path = self.copy_finished() / "poison" / "pacd.npz"
    poison = poison_file.load(path)
    poison_file.save(path, poison._replace(checksum="0" * 64))
    self.refuses("pacd.npz was made for another run.*checksum")

  def test_truncated_and_foreign_tsv(self):
    path = self.copy_finished() / "certificates" / "clean" / "seed_1.tsv"
    text = path.read_text()
    path.write_text("something else\n" + text)
    self.refuses("seed_1.tsv")
    path.write_text(text[: len(text) // 2])  # As a kill leaves it: goes on from there.
    experiment.run(_smoke(), self.workdir)
    columns = [line.split("\t")[:5] for line in path.read_text().splitlines()]
    self.assertEqual(columns, [line.split("\t")[:5] for line in text.splitlines()])

  def test_certificates_of_another_run(self):
    other = self.temporary("other")
    experiment.run(_smoke(seed=1, rows=("clean",)), other)
    self.copy_finished()
    shutil.rmtree(self.workdir / "certificates" / "clean")
    shutil.copytree(other / "certificates" / "clean", self.workdir / "certificates/clean")
    self.refuses("clean/seed_0.tsv belongs to another run .*delete both and rerun")

  # Orbax drops the other reads of a checkpoint whose one read failed; they complain.
  @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
  def test_damaged_checkpoint(self):
    self.addCleanup(gc.collect)  # So that they complain here, not in a later test.
    newest = self.copy_finished() / "checkpoints" / "train" / "clean" / "3"
    for path in newest.rglob("*"):
      if path.is_file() and path.parent.name == "d":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (self.workdir / "certificates" / "clean" / "seed_0.tsv").unlink()
    (self.workdir / "certificates" / "clean" / "seed_0.json").unlink()
    self.refuses("checkpoint .*train/clean/3 .*delete that folder")

  def test_checkpoint_of_another_run(self):
    other = self.temporary("other")
    experiment.run(_smoke(seed=1), other, ("attack",))
    shutil.copytree(other / "checkpoints", self.workdir / "checkpoints")
    self.refuses("attack/6 belongs to another run: delete that folder")

  @parameterized.parameters(
    ("attack.learning_rate", "attack", "stage attack, step"),
    ("train.learning_rate", "train", "stage train/clean, step"),
  )
  def test_non_finite_loss_stops_the_run(self, field, stage, message):
    """Learning rates that overflow float32 in a few steps."""
    config = _smoke(**{field: 1e38})
    with self.assertRaisesRegex(errors.NonFiniteError, message):
      experiment.run(config, self.workdir, ("attack", "train"))


class StreamsTest(absltest.TestCase):
  def test_purposes_have_different_streams(self):
    workdir = self.enterContext(tempfile.TemporaryDirectory())
    built = experiment.build(_smoke(), workdir)
    keys = [built.attack.key, built.certify.key, built.train.keys[0]]
    words = {tuple(np.asarray(jax.random.key_data(key)).tolist()) for key in keys}
    self.assertLen(words, 3)


if __name__ == "__main__":
  absltest.main()
