"""Training sets: what a poison or a change makes of a split, and rows of several sizes."""

import any_poison
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors, types
from pacd_jax.data import arrays, training_sets


def _small():
  """Six 2x2 images of the classes 0, 2 and 5."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (6, 2, 2, 1), dtype=np.uint8)
  return types.Dataset(images, np.array([5, 0, 5, 2, 5, 0], np.int32))


def _poison(train, indices, **changes):
  """Of images that replace those at these places, under their labels."""
  base_images, labels = train.images[indices], train.labels[indices]
  own = dict(labels=labels, base_labels=labels, indices=np.array(indices))
  own |= dict(target_class=5, dataset="small", checksum=arrays.checksum(train))
  return any_poison.make(base_images ^ 1, base_images, **(own | changes))


class UnchangedTestCase(parameterized.TestCase):
  """Fails where a test changed the set that it began with."""

  def setUp(self):
    super().setUp()
    self.train = _small()
    self.whole = training_sets.whole(self.train)
    before = _small()

    def compare():
      np.testing.assert_array_equal(self.train.images, before.images)
      np.testing.assert_array_equal(self.train.labels, before.labels)
      np.testing.assert_array_equal(self.whole.present, np.arange(6))

    self.addCleanup(compare)

  def assert_set(self, found, images, labels, present):
    for value, expected, dtype in zip(
      found, (images, labels, present), (np.uint8, np.int32, np.int64), strict=True
    ):
      self.assertEqual(value.dtype, dtype)
      np.testing.assert_array_equal(value, expected)


class ChangesTest(UnchangedTestCase):
  def test_a_whole_set_is_its_data(self):
    self.assert_set(self.whole, self.train.images, self.train.labels, range(6))
    dataset = training_sets.to_dataset(self.whole)
    self.assertIs(dataset.images, self.train.images)
    self.assertIs(dataset.labels, self.train.labels)

  def test_some_are_kept_in_their_places(self):
    kept = training_sets.keep(self.whole, np.array([4, 1, 3]))
    self.assert_set(kept, self.train.images, self.train.labels, [1, 3, 4])
    self.assertIs(kept.images, self.train.images)
    dataset = training_sets.to_dataset(kept)
    np.testing.assert_array_equal(dataset.images, self.train.images[[1, 3, 4]])
    np.testing.assert_array_equal(dataset.labels, [0, 2, 5])
    again = training_sets.keep(kept, np.array([4]))
    np.testing.assert_array_equal(again.present, [4])

  def test_labels_change_at_positions(self):
    kept = training_sets.keep(self.whole, np.array([1, 3, 4]))
    found = training_sets.relabel(kept, np.array([4, 1]), np.array([2, 5]))
    self.assert_set(found, self.train.images, [5, 5, 5, 2, 2, 0], [1, 3, 4])

  def test_images_are_inserted_behind_the_last(self):
    kept = training_sets.keep(self.whole, np.array([1, 3]))
    new = np.full((2, 2, 2, 1), 9, np.uint8)
    found = training_sets.insert(kept, new, np.array([7, 0]))
    images = np.concatenate([self.train.images, new])
    self.assert_set(found, images, [5, 0, 5, 2, 5, 0, 7, 0], [1, 3, 6, 7])

  @parameterized.parameters(0, 6, -1)
  def test_what_is_not_there_is_refused(self, position):
    kept = training_sets.keep(self.whole, np.array([1, 3]))
    positions = np.array([1, position])
    message = f"position {position} is to be {{}}, but is not in the training set: give"
    with self.assertRaisesRegex(errors.InputError, message.format("kept")):
      training_sets.keep(kept, positions)
    with self.assertRaisesRegex(errors.InputError, message.format("relabelled")):
      training_sets.relabel(kept, positions, np.zeros(2, int))


class ChecksumTest(UnchangedTestCase):
  def test_of_all_it_is_that_of_the_data(self):
    expected = arrays.checksum(self.train)
    self.assertEqual(training_sets.checksum(self.whole), expected)

  def test_whatever_differs_changes_it(self):
    images = self.train.images.copy()
    images[5] ^= 1  # Not in the first of the smaller ones.
    sets = [
      training_sets.keep(whole, np.array(positions))
      for whole in (self.whole, self.whole._replace(images=images))
      for positions in (range(6), range(5), [0, 1, 2, 3, 5])
    ]
    sets.append(training_sets.whole(training_sets.to_dataset(sets[1])))
    sets.append(training_sets.relabel(sets[1], np.array([0]), np.array([0])))
    self.assertLen({training_sets.checksum(each) for each in sets}, 8)


class PoisonedTest(UnchangedTestCase):
  @parameterized.parameters([[0, 2, 4]], [[4, 0]], [[]])
  def test_only_the_given_images_change(self, indices):
    poison = _poison(self.train, np.array(indices, np.int64))
    poisoned = training_sets.poisoned(self.train, poison)
    np.testing.assert_array_equal(poisoned.images[poison.indices], poison.images)
    others = np.setdiff1d(np.arange(6), indices)
    np.testing.assert_array_equal(poisoned.images[others], self.train.images[others])
    np.testing.assert_array_equal(poisoned.labels, self.train.labels)
    np.testing.assert_array_equal(poisoned.present, np.arange(6))
    self.assertEqual(poisoned.images.dtype, np.uint8)

  def test_labels_of_several_classes_change_with_their_images(self):
    labels = np.array([0, 5], np.int32)
    poison = _poison(self.train, [3, 1], labels=labels, clean_label=False)
    poisoned = training_sets.poisoned(self.train, poison)
    expected = self.train.images.copy()
    expected[[3, 1]] ^= 1
    self.assert_set(poisoned, expected, [5, 5, 5, 0, 5, 0], range(6))

  def test_inserted_images_leave_their_bases_and_need_none(self):
    """One replaces; two are made from one image, which stays; one is from elsewhere."""
    poison = _poison(self.train, [3, 1, 1, -1])
    poison = poison._replace(
      inserted=np.array([False, True, True, True]),
      labels=np.array([2, 0, 5, 2], np.int32),
      clean_label=False,
    )
    poisoned = training_sets.poisoned(self.train, poison)
    expected = np.concatenate([self.train.images, poison.images[1:]])
    expected[3] ^= 1
    self.assert_set(poisoned, expected, [5, 0, 5, 2, 5, 0, 0, 5, 2], range(9))

  def test_a_poison_of_another_split_is_refused(self):
    images = self.train.images.copy()
    images[1, 0, 0, 0] ^= 1
    poison = _poison(self.train, [0, 2])
    with self.assertRaisesRegex(errors.InputError, "another training split"):
      training_sets.poisoned(self.train._replace(images=images), poison)

  @parameterized.named_parameters(
    ("past_the_end", {"indices": np.array([0, 6])}),
    ("inserted_past_the_end", {"indices": np.array([0, 6]), "inserted": np.ones(2, bool)}),
    ("of_another_class", {"indices": np.array([0, 1])}),
    ("in_no_place", {"indices": np.array([0, -1])}),
    ("with_other_base_labels", {"base_labels": np.array([5, 0], np.int32)}),
    ("of_other_images", {"images": np.zeros((2, 4, 1, 1), np.uint8)}),
    ("with_another_base", {"base_images": np.zeros((2, 2, 2, 1), np.uint8)}),
  )
  def test_a_poison_that_contradicts_its_split_is_refused(self, changes):
    """Its checksum fits, its indices do not: it was not made by the attack stage."""
    poison = _poison(self.train, [0, 2])._replace(**changes)
    with self.assertRaisesRegex(errors.InputError, "are not those at its indices"):
      training_sets.poisoned(self.train, poison)

  def test_a_label_that_the_split_does_not_know_is_refused(self):
    poison = _poison(self.train, [0, 2], labels=np.array([5, 6], np.int32))
    message = "the poison has label 6, but 'small' has classes 0 to 5: use these"
    with self.assertRaisesRegex(errors.InputError, message):
      training_sets.poisoned(self.train, poison)


class DifferenceTest(UnchangedTestCase):
  def _assert_report(self, report, removed, relabelled, changed):
    for name, value, expected in zip(
      report._fields, report, (removed, relabelled, changed), strict=False
    ):
      self.assertEqual(value.dtype, np.int64, name)
      np.testing.assert_array_equal(value, expected, name)

  def test_nothing(self):
    self._assert_report(training_sets.difference(self.whole, self.whole), [], [], [])

  def test_each_kind_of_change(self):
    """Of those that are there before and after; new ones are in no list."""
    before = training_sets.keep(self.whole, np.array([0, 1, 3, 4, 5]))
    images = self.train.images.copy()
    images[[1, 2, 4, 5], 0, 1] ^= 1  # 2 was not there, 5 is gone.
    after = before._replace(images=images)
    after = training_sets.keep(after, np.array([1, 3, 4]))
    after = after._replace(labels=np.array([0, 0, 0, 0, 0, 5], np.int32))
    after = training_sets.insert(after, images[:1], np.array([1]))
    report = training_sets.difference(before, after, {"threshold": 0.5})
    self._assert_report(report, [0, 5], [3, 4], [1, 4])
    self.assertEqual(report.values, {"threshold": 0.5})


class BatchSizeTest(UnchangedTestCase):
  def test_a_row_that_fills_no_batch_is_named(self):
    sets = {
      "clean": self.whole,
      "sifted": training_sets.keep(self.whole, np.array([1, 3, 4])),
    }
    training_sets.check_batch_size(sets, 3)
    message = "batch_size is 4, .* row 'sifted' has 3 images: use at most 3, or leave"
    with self.assertRaisesRegex(errors.InputError, message):
      training_sets.check_batch_size(sets, 4)


class StackTest(UnchangedTestCase):
  def test_rows_of_one_size_have_no_sizes(self):
    other = self.whole._replace(labels=self.whole.labels[::-1])
    rows = training_sets.stack([self.whole, other])
    self.assertIsNone(rows.sizes)
    np.testing.assert_array_equal(rows.images, np.stack([self.train.images] * 2))
    np.testing.assert_array_equal(rows.labels, np.stack([self.whole.labels, other.labels]))
    np.testing.assert_array_equal(rows.present, [range(6)] * 2)

  def test_smaller_rows_are_filled_up(self):
    kept = training_sets.keep(self.whole, np.array([1, 3, 5]))
    new = np.full((2, 2, 2, 1), 9, np.uint8)
    larger = training_sets.insert(kept, new, np.array([7, 4]))
    rows = training_sets.stack([kept, larger, self.whole])
    dtypes = [leaf.dtype for leaf in rows if leaf is not None]
    self.assertEqual(dtypes, [np.uint8, np.int32, np.int32, np.int32])
    self.assertEqual(rows.images.shape, (3, 8, 2, 2, 1))
    np.testing.assert_array_equal(rows.images[:, :6], [self.train.images] * 3)
    np.testing.assert_array_equal(rows.images[1, 6:], new)
    np.testing.assert_array_equal(rows.images[[0, 2], 6:], 0)
    np.testing.assert_array_equal(rows.labels[0], [5, 0, 5, 2, 5, 0, 0, 0])
    np.testing.assert_array_equal(rows.labels[1, 6:], [7, 4])
    expected = [[1, 3, 5, 5, 5, 5], [1, 3, 5, 6, 7, 7], range(6)]
    np.testing.assert_array_equal(rows.present, [list(row) for row in expected])
    np.testing.assert_array_equal(rows.sizes, [3, 5, 6])

  def test_equal_sizes_of_other_images_are_of_one_size(self):
    kept = training_sets.keep(self.whole, np.array([0, 2]))
    others = training_sets.keep(self.whole, np.array([1, 5]))
    rows = training_sets.stack([kept, others])
    self.assertIsNone(rows.sizes)
    np.testing.assert_array_equal(rows.present, [[0, 2], [1, 5]])


if __name__ == "__main__":
  absltest.main()
