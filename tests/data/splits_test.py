"""How `data_sets.load` cuts stored images into splits: shares, seeds, subsets, refusals."""

import pathlib
import tempfile

import fake_tfds
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.experiment.entries import data_sets

_PARTS = ("train", "validation", "test")


def _numbered(sizes, *, test_sizes=()):
  """Arrays of an .npz: `sizes[c]` images of class c, image i with i in its first bytes."""
  arrays = {}
  for prefix, counts in (("", sizes), ("test_", test_sizes)):
    if counts:
      labels = np.repeat(np.arange(len(counts)), counts)
      images = np.zeros((len(labels), 2, 2, 1), np.uint8)
      images[:, 0, :, 0] = np.stack(np.divmod(np.arange(len(labels)), 256), axis=1)
      arrays |= {prefix + "images": images, prefix + "labels": labels}
  return arrays


def _numbers(dataset):
  """The numbers of `_numbered` images."""
  return (dataset.images[:, 0, :, 0].astype(int) @ [256, 1]).tolist()


class SplitsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.path = self.folder / "mine.npz"

  def _load(self, sizes, *, test_sizes=(), **options):
    np.savez(self.path, **_numbered(sizes, test_sizes=test_sizes))
    return data_sets.load("npz", path=self.path, **options)

  def assert_same(self, one, two):
    self.assertEqual((one.name, one.num_classes), (two.name, two.num_classes))
    self.assertEqual(one.description, two.description)
    for part in _PARTS:
      for left, right in zip(getattr(one, part), getattr(two, part), strict=True):
        np.testing.assert_array_equal(left, right)

  @parameterized.parameters(("mnist", 220), ("cifar10", 216))
  def test_prepared_data(self, name, num_train):
    """A twelfth and a tenth of 240 images become validation, two from each class."""
    stored_test = fake_tfds.random_dataset(name, 60, seed=1)
    fake_tfds.make_tfds_folder(self.folder, name)
    splits = data_sets.load(name, data_dir=self.folder, seed=3)
    self.assertEqual((splits.name, splits.num_classes), (name, 10))
    self.assertRegex(splits.description, r"^(MNIST|CIFAR-10) \(240 \+ 60 images\)$")
    self.assertLen(splits.train.labels, num_train)
    self.assertLen(splits.validation.labels, 240 - num_train)
    counts = np.bincount(splits.validation.labels, minlength=10)
    self.assertContainsSubset(counts.tolist(), {2, 3})
    np.testing.assert_array_equal(splits.test.images, stored_test.images)
    stored = fake_tfds.random_dataset(name, 240, seed=0)
    together = np.concatenate([splits.train.images, splits.validation.images])
    self.assertCountEqual(
      [image.tobytes() for image in together], [image.tobytes() for image in stored.images]
    )

  def test_digits_are_described(self):
    self.assertEqual(data_sets.load("digits").description, "digits")

  @parameterized.parameters(0, 1)
  def test_npz_without_a_test_split_is_cut_as_digits_are(self, seed):
    splits = self._load([50, 100, 25], seed=seed)
    self.assertEqual((splits.name, splits.num_classes), ("npz", 3))
    self.assertEqual(splits.description, "mine.npz")
    for part, counts in zip(_PARTS, ([30, 60, 15], [10, 20, 5], [10, 20, 5]), strict=True):
      labels = getattr(splits, part).labels
      np.testing.assert_array_equal(np.bincount(labels), counts, part)
      self.assertEqual(labels.dtype, np.int32)
    numbers = [_numbers(getattr(splits, part)) for part in _PARTS]
    self.assertCountEqual(np.concatenate(numbers), range(175))

  def test_a_tenth_of_an_npz_with_a_test_split_is_validation(self):
    splits = self._load([200, 101, 10], test_sizes=[3, 2, 4])
    self.assertEqual(_numbers(splits.test), list(range(9)))
    self.assertCountEqual(_numbers(splits.train) + _numbers(splits.validation), range(311))
    np.testing.assert_array_equal(np.bincount(splits.validation.labels), [20, 10, 1])
    np.testing.assert_array_equal(np.bincount(splits.train.labels), [180, 91, 9])

  @parameterized.parameters(((),), ((30, 20),))
  def test_a_seed_fixes_the_splits(self, test_sizes):
    sizes = dict(sizes=[60, 40], test_sizes=test_sizes)
    one, again, other = (self._load(**sizes, seed=seed) for seed in (5, 5, 6))
    self.assert_same(one, again)
    for part in ("train", "validation"):
      numbers, others = (_numbers(getattr(splits, part)) for splits in (one, other))
      self.assertNotEqual(set(numbers), set(others), part)
    if test_sizes:
      self.assertEqual(_numbers(one.test), _numbers(other.test))

  @parameterized.parameters(((),), ((30, 20),))
  def test_classes_are_mixed_within_a_part(self, test_sizes):
    """The file holds one class after the other; parts do not: by chance 48% differ."""
    labels = self._load([600, 400], test_sizes=test_sizes).train.labels
    self.assertBetween(np.mean(labels[1:] != labels[:-1]), 0.4, 0.56)

  def test_every_image_is_drawn_as_often(self):
    """Of 20 images 2 are drawn by each of 400 seeds: 40 times each, +- 5 x 6."""
    np.savez(self.path, **_numbered([10, 10], test_sizes=[1, 1]))
    drawn = [
      _numbers(data_sets.load("npz", path=self.path, seed=seed).validation)
      for seed in range(400)
    ]
    np.testing.assert_allclose(np.bincount(np.ravel(drawn), minlength=20), 40, atol=30)

  @parameterized.parameters((10, [5, 3, 2]), (3, [1, 1, 1]), (45, [23, 13, 9]), (90, None))
  def test_num_train_keeps_each_class_its_share(self, num_train, counts):
    """Of 90 images in 45, 27 and 18; largest remainders round up."""
    sizes = dict(sizes=[50, 30, 20], test_sizes=[2, 2, 2], seed=1)
    whole, subset = self._load(**sizes), self._load(**sizes, num_train=num_train)
    labels = np.bincount(subset.train.labels)
    np.testing.assert_array_equal(labels, counts or [45, 27, 18])
    self.assertContainsSubset(_numbers(subset.train), _numbers(whole.train))
    self.assertLen(set(_numbers(subset.train)), num_train)
    self.assertEqual(subset.description, f"mine.npz, {num_train} training images")
    self.assert_same(subset._replace(train=whole.train, description="mine.npz"), whole)
    self.assert_same(self._load(**sizes, num_train=num_train), subset)

  def test_num_train_of_digits(self):
    splits = data_sets.load("digits", num_train=1000)
    self.assertLen(splits.train.labels, 1000)
    self.assertLen(splits.test.labels, 360)
    self.assertEqual(splits.description, "digits, 1,000 training images")

  @parameterized.parameters(91, -1)
  def test_more_than_there_are_is_refused(self, num_train):
    with self.assertRaisesRegex(
      errors.InputError, f"num_train={num_train}: the training split has 90 images"
    ):
      self._load([50, 50], test_sizes=[1, 1], num_train=num_train)

  def test_a_class_that_is_lost_is_named(self):
    with self.assertRaisesRegex(
      errors.InputError, "no image of class 1 is left .* raise data.num_train"
    ):
      self._load([900, 20], test_sizes=[1, 1], num_train=10)
    with self.assertRaisesRegex(errors.InputError, "class 0 .* give that class more"):
      self._load([1, 1], test_sizes=[1, 1])

  def test_too_few_for_three_parts(self):
    with self.assertRaisesRegex(errors.InputError, "class 1 has 4 images: .* at least 5"):
      self._load([50, 4])
    splits = self._load([53, 5])
    for part in _PARTS:
      self.assertLen(np.unique(getattr(splits, part).labels), 2)

  @parameterized.parameters(
    (dict(name="mnits"), "'mnits' is not a known .* digits, mnist, cifar10, npz, arrays$"),
    (
      dict(name="digits", path="a.npz"),
      "data.path=a.npz is for data.name=npz, not for",
    ),
    (dict(name="npz", data_dir="a"), "data.data_dir=a is for mnist and cifar10, not for"),
    (dict(name="digits", data_dir="a"), "data.data_dir=a is for mnist and cifar10"),
    (dict(name="npz"), "set data.path to an .npz"),
    (dict(name="npz", path="/no/such.npz"), "/no/such.npz: No such file"),
    (dict(name="cifar10", data_dir="/no"), "/no/cifar10: CIFAR-10 is not prepared there"),
  )
  def test_options_that_do_not_fit(self, options, message):
    with self.assertRaisesRegex(errors.InputError, message):
      data_sets.load(options.pop("name"), **options)

  def test_empty_options_are_none(self):
    self.assert_same(
      data_sets.load("digits", data_dir="", path=""), data_sets.load("digits")
    )


if __name__ == "__main__":
  absltest.main()
