"""Arrays in, poisons and victims out: what `pacd_jax` offers a program."""

import pathlib
import tempfile

import numpy as np
import pytest
from absl.testing import absltest, parameterized

import pacd_jax
from pacd_jax import errors


def _arrays(num=300, seed=0):
  generator = np.random.default_rng(seed)
  labels = np.arange(num) % 3
  images = generator.integers(0, 120, (num, 8, 8, 1), np.uint8)
  images[np.arange(num), labels] += 100
  return images, labels


def _config(**changes):
  fields = {"data.target_class": 1, "model.name": "linear", "certify.num_points": 0}
  fields |= {"attack.clean_batch": 20, "attack.poison_batch": 10, "attack.val_batch": 10}
  fields |= {"train.batch_size": 30}
  return pacd_jax.make_config("digits_ga", "smoke", fields | changes)


class PoisonTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), "run")
    self.data = pacd_jax.split_arrays(*_arrays())

  @pytest.mark.long
  def test_the_attack_is_made_once_and_read_then(self):
    poison = pacd_jax.poison(self.data, _config(), self.folder)
    path = self.folder / "poison" / "pacd.npz"
    before = path.stat().st_mtime_ns
    again = pacd_jax.poison(self.data, _config(), self.folder)
    self.assertEqual(path.stat().st_mtime_ns, before)
    np.testing.assert_array_equal(again.images, poison.images)
    change = np.abs(poison.images.astype(int) - poison.base_images)
    self.assertBetween(change.max(), 1, round(0.1 * 255))
    poisoned = pacd_jax.apply_poison(self.data.train, poison)
    moved = (poisoned.images != self.data.train.images).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(np.unique(self.data.train.labels[moved]), [1])

  @pytest.mark.long
  def test_other_arrays_in_the_same_folder_are_refused(self):
    pacd_jax.poison(self.data, _config(), self.folder)
    others = pacd_jax.split_arrays(*_arrays(seed=1))
    with self.assertRaisesRegex(errors.InputError, "made for another training split"):
      pacd_jax.poison(others, _config(), self.folder)
    # Without the poison, the attack's checkpoint is told from one of these data, too.
    (self.folder / "poison" / "pacd.npz").unlink()
    with self.assertRaisesRegex(errors.InputError, "checkpoints"):
      pacd_jax.poison(others, _config(), self.folder)

  def test_its_folder_is_loaded_with_the_arrays_alone(self):
    pacd_jax.poison(self.data, _config(), self.folder, row="brightness")
    with self.assertRaisesRegex(errors.InputError, "in memory"):
      pacd_jax.load_run(self.folder)
    run = pacd_jax.load_run(self.folder, data=self.data)
    self.assertEqual(run.training_sets.poison("brightness").target_class, 1)

  def test_a_baseline_asks_for_no_batches_of_the_attack(self):
    config = _config(**{"attack.clean_batch": 900, "attack.val_batch": 100})
    pacd_jax.poison(self.data, config, self.folder, row="classwise")
    with self.assertRaisesRegex(errors.InputError, "attack.clean_batch is 900"):
      pacd_jax.poison(self.data, config, self.folder.with_name("other"))

  @parameterized.parameters("clean", "no_such_row")
  def test_rows_that_make_no_poison(self, row):
    with self.assertRaisesRegex(errors.InputError, "it must be one of watermark"):
      pacd_jax.poison(self.data, _config(), self.folder, row=row)
    self.assertFalse(self.folder.exists())


class ObjectsTest(parameterized.TestCase):
  def test_of_another_kind_are_named(self):
    data, config = pacd_jax.split_arrays(*_arrays()), _config()
    for call, message in (
      (lambda: pacd_jax.poison(data.train, config, "x"), "data is Dataset, not Splits"),
      (lambda: pacd_jax.poison(data, "digits_ga", "x"), "config is str, not Config"),
      (lambda: pacd_jax.train_victims(data, config), "training_set is Splits, not Dataset"),
      (lambda: pacd_jax.apply_poison(data.train, "x.npz"), "poison is str, not Poison"),
      (lambda: pacd_jax.make_config("digits_ga:smoke"), "give the variant by itself"),
      (lambda: pacd_jax.make_config("digits_ga", "smok"), "no variant 'smok'"),
      (lambda: pacd_jax.make_config("digit_ga"), "there are digits_ga"),
    ):
      with self.assertRaisesRegex(errors.InputError, message):
        call()


class SplitTest(parameterized.TestCase):
  def test_three_parts_of_each_class(self):
    data = pacd_jax.split_arrays(*_arrays(), name="mine")
    sizes = [len(part.labels) for part in (data.train, data.validation, data.test)]
    self.assertEqual((data.name, sizes), ("mine", [180, 60, 60]))

  @parameterized.parameters(
    (lambda images, labels: (images / 255.0, labels), "float64, not uint8"),
    (lambda images, labels: (images[:, 0, 0, 0], labels), "shape"),
    (lambda images, labels: (images, labels[:-1]), "300 images but 299 labels"),
    (lambda images, labels: (images, labels.astype(str)), "labels"),
    (lambda images, labels: (images, labels + 1), "none is 0"),
  )
  def test_arrays_that_cannot_be_used(self, change, message):
    with self.assertRaisesRegex(errors.InputError, message):
      pacd_jax.split_arrays(*change(*_arrays()))


class TrainVictimsTest(parameterized.TestCase):
  @pytest.mark.long
  def test_each_seed_learns(self):
    data = pacd_jax.split_arrays(*_arrays())
    config = _config(**{"train.num_epochs": 30, "train.num_victims": 2})
    victims = pacd_jax.train_victims(data.train, config)
    self.assertLen(victims.params, 2)
    for params in victims.params:
      logits = victims.apply(params, data.test.images / np.float32(255))
      self.assertGreater(np.mean(logits.argmax(axis=-1) == data.test.labels), 0.8)

  @parameterized.parameters(
    ({"train.recovery_epochs": 2}, "recovery_epochs needs clean images"),
    ({"train.weight_decay_choices": (0.0, 0.1)}, "weight_decay_choices needs a run"),
    ({"train.stopping.every": 1}, "stopping.every needs a run, with trusted images"),
    ({"defense.chain": ("identity",)}, "defense.chain needs a run"),
    ({"train.batch_size": 181}, "is to train on 180 images"),
  )
  def test_what_it_cannot_do(self, changes, message):
    data = pacd_jax.split_arrays(*_arrays())
    with self.assertRaisesRegex(errors.InputError, message):
      pacd_jax.train_victims(data.train, _config(**changes))


if __name__ == "__main__":
  absltest.main()
