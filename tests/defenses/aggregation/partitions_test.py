"""Which part each image is in, what a change reaches, and what each model is given."""

import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors, types
from pacd_jax.data import training_sets
from pacd_jax.defenses.aggregation import partitions

_NAMES = tuple(partitions.PARTITIONS)


def _set(count=60, absent=(3, 17), seed=0):
  """A training set of images of 2x2 pixels, some of which are not present."""
  rng = np.random.default_rng(seed)
  images = rng.integers(0, 256, (count, 2, 2, 1), np.uint8)
  labels = rng.integers(0, 3, count).astype(np.int32)
  return types.TrainingSet(images, labels, np.setdiff1d(np.arange(count), absent))


def _permuted(training_set, seed):
  """The images that are present, in another order."""
  images, labels = training_sets.to_dataset(training_set)
  order = np.random.default_rng(seed).permutation(len(labels))
  return training_sets.whole(types.Dataset(images[order], labels[order])), order


def _given(training_set, name, num_parts, **options):
  """What each model is given: bytes of its images, and labels, in order."""
  partition = partitions.PARTITIONS[name]
  found = partitions.members(
    training_set,
    partition.assign(training_set, num_parts),
    num_parts,
    positional=partition.positional,
    **options,
  )
  own = [p[:n] for p, n in zip(found.positions, found.sizes, strict=True)]
  images, labels, _ = training_set
  return [(images[each].tobytes(), labels[each].tobytes()) for each in own]


def _num_changed(before, after):
  return sum(a != b for a, b in zip(before, after, strict=True))


class PartitionsTest(parameterized.TestCase):
  def test_the_hash_is_of_the_images_bytes(self):
    """SHA-256 of "abc" is ba7816bf...20015ad: FIPS 180-2, appendix B.1."""
    images = np.frombuffer(b"abc", np.uint8).reshape(1, 1, 1, 3)
    one = training_sets.whole(types.Dataset(images, np.zeros(1, np.int32)))
    three = one._replace(
      images=np.repeat(images, 3, axis=0), labels=np.arange(3), present=np.arange(3)
    )
    digest = 0xBA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD
    np.testing.assert_array_equal(partitions.by_content(three, 3), [digest % 3] * 3)

  @parameterized.parameters(*_NAMES)
  def test_parts_are_of_present_images_and_all_are_there(self, name):
    training_set = _set(300)
    parts = partitions.PARTITIONS[name].assign(training_set, 7)
    self.assertEqual((parts.dtype, parts.shape), (np.int64, (298,)))
    sizes = np.bincount(parts, minlength=7)
    self.assertLen(sizes, 7)
    self.assertGreater(sizes.min(), 20)
    if name == "rank":
      self.assertLessEqual(np.ptp(sizes), 1)
    if name == "position":
      np.testing.assert_array_equal(parts, training_set.present % 7)

  def test_ranks_are_of_bytes_in_order(self):
    images = np.array([[3, 0], [200, 1], [3, 1], [0, 255]], np.uint8).reshape(4, 1, 2, 1)
    training_set = training_sets.whole(types.Dataset(images, np.zeros(4, np.int32)))
    np.testing.assert_array_equal(partitions.by_rank(training_set, 4), [1, 3, 2, 0])
    np.testing.assert_array_equal(partitions.by_rank(training_set, 2), [1, 1, 0, 0])

  def test_a_rank_tells_no_duplicates_apart(self):
    training_set = _set()
    training_set.images[40] = training_set.images[9]
    words = "images 9 and 40 of the training set are equal, .*: remove duplicates, or cut"
    with self.assertRaisesRegex(errors.InputError, words):
      partitions.by_rank(training_set, 5)
    partitions.by_content(training_set, 5)
    without = training_sets.keep(training_set, np.setdiff1d(training_set.present, 40))
    partitions.by_rank(without, 5)

  @parameterized.product(name=_NAMES, num_parts=(0, 59, 1000))
  def test_more_parts_than_images(self, name, num_parts):
    words = (
      f"of 58 images cannot be cut into {num_parts} parts: let config field "
      "train.ensemble.num_models be"
    )
    with self.assertRaisesRegex(errors.InputError, words):
      partitions.PARTITIONS[name].assign(_set(), num_parts)


class MembersTest(parameterized.TestCase):
  @parameterized.product(name=_NAMES, spread=(1, 2, 5, 20))
  def test_an_image_is_in_as_many_models_as_its_part_goes_to(self, name, spread):
    training_set = _set()
    partition = partitions.PARTITIONS[name]
    parts = partition.assign(training_set, 20)
    found = partitions.members(
      training_set, parts, 20, spread=spread, seed=4, positional=partition.positional
    )
    self.assertEqual(found.positions.dtype, np.int32)
    self.assertEqual(found.sizes.dtype, np.int32)
    self.assertEqual(found.positions.shape, (20, found.sizes.max()))
    steps = partitions.offsets(20, spread, 4)
    for model, (own, size) in enumerate(zip(found.positions, found.sizes, strict=True)):
      expected = training_set.present[np.isin((model - parts) % 20, steps)]
      np.testing.assert_array_equal(np.sort(own[:size]), expected)
      np.testing.assert_array_equal(own[size:], 0)
      if partition.positional:
        np.testing.assert_array_equal(own[:size], expected)

  @parameterized.product(name=("content", "rank"), spread=(1, 3), seed=(0, 1, 2))
  def test_an_order_of_the_set_changes_nothing(self, name, spread, seed):
    training_set = _set()
    training_set.labels[:] = 1  # The labels' order is not the one that is tested.
    if name == "content":
      training_set.images[20:30] = training_set.images[10:20]
      training_set.labels[20:25] = 2
    before = _given(training_set, name, 12, spread=spread)
    after = _given(_permuted(training_set, seed)[0], name, 12, spread=spread)
    self.assertEqual(before, after)

  @parameterized.parameters(1, 3)
  def test_a_change_reaches_as_many_models_as_its_unit_says(self, spread):
    training_set = _set()
    before = {
      name: _given(training_set, name, 12, spread=spread) for name in partitions.PARTITIONS
    }
    for position in training_set.present.tolist():
      fewer = training_sets.keep(training_set, np.setdiff1d(training_set.present, position))
      after = _given(fewer, "content", 12, spread=spread)
      self.assertEqual(_num_changed(before["content"], after), spread)
      flipped = training_set._replace(labels=training_set.labels.copy())
      flipped.labels[position] = (flipped.labels[position] + 1) % 3
      for name, given in before.items():
        after = _given(flipped, name, 12, spread=spread)
        self.assertEqual(_num_changed(given, after), spread)
      other = training_set._replace(images=training_set.images.copy())
      other.images[position] = 255 - other.images[position]
      after = _given(other, "position", 12, spread=spread)
      self.assertEqual(_num_changed(before["position"], after), spread)
      after = _given(other, "content", 12, spread=spread)
      self.assertLessEqual(_num_changed(before["content"], after), 2 * spread)

  def test_a_model_may_have_no_image(self):
    found = partitions.members(_set(5, ()), np.array([0, 0, 3, 3, 0]), 5)
    np.testing.assert_array_equal(found.sizes, [3, 0, 0, 2, 0])
    np.testing.assert_array_equal(found.positions[1], 0)

  @parameterized.parameters((1, 1), (9, 1), (9, 4), (9, 9))
  def test_offsets_are_different_and_with_zero(self, num_models, spread):
    found = partitions.offsets(num_models, spread, 3)
    self.assertLen(set(found), spread)
    self.assertEqual(found, tuple(sorted(found)))
    self.assertEqual(found[0], 0)
    self.assertLess(found[-1], num_models)
    self.assertEqual(found, partitions.offsets(num_models, spread, 3))
    if spread == 4:
      self.assertNotEqual(found, partitions.offsets(num_models, spread, 4))

  @parameterized.parameters(0, 10)
  def test_offsets_that_there_are_not(self, spread):
    words = f"to {spread} of 9 models: use a spread from 1 to 9"
    with self.assertRaisesRegex(errors.InputError, words):
      partitions.offsets(9, spread)


if __name__ == "__main__":
  absltest.main()
