"""Data sets, their splits, and what is asked of their labels."""

import collections

import numpy as np
from absl.testing import absltest, parameterized
from sklearn import datasets

from pacd_jax import errors, types
from pacd_jax.data import arrays
from pacd_jax.experiment.entries import data_sets

# rint(k * 255 / 16) for the 17 grey levels k of scikit-learn's digits.
_LEVELS = np.array(
  [0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255]
)
_PARTS = ("train", "validation", "test")


def _original():
  """The digits as scikit-learn has them, by our table of levels."""
  images, labels = datasets.load_digits(return_X_y=True)
  pixels = _LEVELS[images.astype(int)].astype(np.uint8)
  return types.Dataset(pixels.reshape(-1, 8, 8, 1), labels)


def _multiset(dataset):
  pairs = zip(dataset.images, dataset.labels, strict=True)
  return collections.Counter((image.tobytes(), int(label)) for image, label in pairs)


def _small():
  """Six 2x2 images of the classes 0, 2 and 5."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (6, 2, 2, 1), dtype=np.uint8)
  return types.Dataset(images, np.array([5, 0, 5, 2, 5, 0], np.int32))


class DigitsTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.splits = data_sets.load("digits", seed=0)
    cls.original = _original()

  def test_shapes_and_types(self):
    self.assertEqual(self.splits.name, "digits")
    self.assertEqual(self.splits.num_classes, 10)
    for name, size in zip(_PARTS, (1077, 360, 360), strict=True):
      part = getattr(self.splits, name)
      self.assertEqual(part.images.shape, (size, 8, 8, 1))
      self.assertEqual(part.images.dtype, np.uint8)
      self.assertEqual(part.labels.shape, (size,))
      self.assertEqual(part.labels.dtype, np.int32)

  @parameterized.parameters(0, 1)
  def test_parts_are_disjoint_and_complete(self, seed):
    """Together they hold each of the 1,797 images once, levels and labels exact."""
    self.assertLen(self.original.labels, 1797)
    splits = data_sets.load("digits", seed=seed)
    parts = [_multiset(getattr(splits, name)) for name in _PARTS]
    self.assertEqual(sum(parts, collections.Counter()), _multiset(self.original))

  def test_every_class_is_cut_in_the_same_proportions(self):
    totals = np.bincount(self.original.labels)
    for name, share in zip(_PARTS, (0.6, 0.2, 0.2), strict=True):
      counts = np.bincount(getattr(self.splits, name).labels, minlength=10)
      self.assertLess(np.abs(counts - share * totals).max(), 1.5, name)

  def test_a_seed_fixes_the_split_in_its_order(self):
    again = data_sets.load("digits", seed=0)
    for name in _PARTS:
      one, two = getattr(self.splits, name), getattr(again, name)
      np.testing.assert_array_equal(one.images, two.images)
      np.testing.assert_array_equal(one.labels, two.labels)

  def test_another_seed_gives_another_split(self):
    other = data_sets.load("digits", seed=1)
    for name in _PARTS:
      one, two = getattr(self.splits, name), getattr(other, name)
      self.assertNotEqual(_multiset(one), _multiset(two), name)

  def test_classes_are_mixed_within_a_part(self):
    """A sorted part would make batches of one class."""
    labels = self.splits.train.labels
    self.assertGreater(np.mean(labels[1:] != labels[:-1]), 0.8)

  def test_an_unknown_name_is_refused(self):
    with self.assertRaisesRegex(errors.InputError, "data.name='digit'.*digits"):
      data_sets.load("digit")


class PixelsTest(parameterized.TestCase):
  def test_to_float(self):
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    floats = arrays.to_float(images)
    self.assertEqual(floats.dtype, np.float32)
    np.testing.assert_allclose(floats.ravel() * 255.0, np.arange(256), rtol=1e-6)
    self.assertEqual(floats.min(), 0.0)
    self.assertEqual(floats.max(), 1.0)
    np.testing.assert_array_equal(np.rint(floats * 255.0).astype(np.uint8), images)


class ChecksumTest(parameterized.TestCase):
  def test_equal_data_have_one_checksum(self):
    dataset = _small()
    copy = types.Dataset(np.asfortranarray(dataset.images), dataset.labels.astype(int))
    self.assertEqual(arrays.checksum(dataset), arrays.checksum(copy))

  def test_one_pixel_changes_it(self):
    dataset, checksums = _small(), set()
    for i in range(dataset.images.size):
      images = dataset.images.copy()
      images.flat[i] ^= 1
      checksums.add(arrays.checksum(dataset._replace(images=images)))
    self.assertLen(checksums | {arrays.checksum(dataset)}, 1 + dataset.images.size)

  def test_one_label_changes_it(self):
    dataset, checksums = _small(), set()
    for i in range(6):
      labels = dataset.labels.copy()
      labels[i] += 1
      checksums.add(arrays.checksum(dataset._replace(labels=labels)))
    self.assertLen(checksums | {arrays.checksum(dataset)}, 7)

  def test_order_and_shape_change_it(self):
    dataset = _small()
    reordered = types.Dataset(dataset.images[::-1], dataset.labels[::-1])
    wide = dataset._replace(images=dataset.images.reshape(6, 1, 4, 1))
    checksums = {arrays.checksum(other) for other in (dataset, reordered, wide)}
    self.assertLen(checksums, 3)


class ClassIndicesTest(parameterized.TestCase):
  @parameterized.parameters((5, [0, 2, 4]), (0, [1, 5]), (2, [3]))
  def test_positions_in_order(self, target_class, expected):
    indices = arrays.class_indices(_small(), target_class)
    self.assertEqual(indices.dtype, np.int64)
    np.testing.assert_array_equal(indices, expected)

  @parameterized.parameters(1, 8, -1)
  def test_an_absent_class_is_refused_and_the_present_ones_named(self, target_class):
    with self.assertRaisesRegex(
      errors.InputError, f"data.target_class={target_class} .* 0, 2, 5, or add"
    ):
      arrays.class_indices(_small(), target_class)


class PoisonedIndicesTest(parameterized.TestCase):
  @parameterized.parameters((1e-9, 1), (0.1, 10), (0.5, 52), (0.99, 103), (1.0, 104))
  def test_a_share_of_the_class_at_least_one_image(self, fraction, count):
    train = data_sets.load("digits", seed=0).train  # 104 images of class 8.
    indices = arrays.poisoned_indices(train, 8, fraction=fraction, seed=3)
    self.assertLen(indices, count)
    np.testing.assert_array_equal(train.labels[indices], 8)
    np.testing.assert_array_less(0, np.diff(indices))

  def test_all_of_it_is_the_class(self):
    train = data_sets.load("digits", seed=0).train
    of_class = arrays.class_indices(train, 8)
    np.testing.assert_array_equal(arrays.poisoned_indices(train, 8), of_class)

  def test_a_smaller_share_is_part_of_a_larger_one_of_its_seed(self):
    train = data_sets.load("digits", seed=0).train
    few, more, others = (
      set(arrays.poisoned_indices(train, 8, fraction=fraction, seed=seed))
      for fraction, seed in ((0.25, 0), (0.5, 0), (0.5, 1))
    )
    self.assertLess(few, more)
    self.assertNotEqual(more, others)


if __name__ == "__main__":
  absltest.main()
