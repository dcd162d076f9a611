"""Trusted images: drawn by class, without copies of training images."""

import jax
import numpy as np
import shifted_digits
from absl.testing import absltest

from pacd_jax import errors, types
from pacd_jax.data import training_sets
from pacd_jax.defenses.trusted import images


def _by_class(training_set, trusted, num_trusted=0, seed=0):
  return images.by_class(training_set, trusted, num_trusted, jax.random.key(seed))


def _few(levels, labels=None):
  """2x2 images of one grey level each."""
  pixels = np.repeat(np.array(levels, np.uint8), 4).reshape(-1, 2, 2, 1)
  labels = np.zeros(len(levels), np.int32) if labels is None else np.int32(labels)
  return types.Dataset(pixels, labels)


class ByClassTest(absltest.TestCase):
  def test_all_of_a_class_or_some_of_them(self):
    data = shifted_digits.splits()
    whole = training_sets.whole(data.train)
    classes = _by_class(whole, data.validation)
    self.assertEqual(classes.labels, list(range(10)))
    self.assertEqual(classes.num_copies, 0)
    for label in range(10):
      for found, part in (
        (classes.training[label], data.train),
        (classes.trusted[label], data.validation),
      ):
        expected = part.images[part.labels == label].reshape(-1, 64) / 255
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    few, same, others = (_by_class(whole, data.validation, 7, seed) for seed in (0, 0, 1))
    self.assertEqual({len(part) for part in few.trusted}, {7})
    np.testing.assert_array_equal(few.trusted[3], same.trusted[3])
    self.assertFalse(np.array_equal(few.trusted[3], others.trusted[3]))

  def test_images_that_are_not_present_are_not_looked_at(self):
    data = training_sets.whole(_few([1, 2, 3, 4, 5]))
    classes = _by_class(training_sets.keep(data, np.array([0, 2])), _few([7, 8]))
    np.testing.assert_array_equal(classes.positions[0], [0, 2])
    np.testing.assert_allclose(classes.training[0][:, 0] * 255, [1, 3], rtol=1e-6)

  def test_copies_are_left_out(self):
    """On either side, so that what is left is as exchangeable as before."""
    data = training_sets.whole(_few([1, 2, 3, 4, 5, 5]))
    classes = _by_class(data, _few([2, 7, 8, 9, 9, 1]))
    self.assertEqual(classes.num_copies, 2)
    np.testing.assert_allclose(classes.training[0][:, 0] * 255, [3, 4], rtol=1e-6)
    np.testing.assert_allclose(classes.trusted[0][:, 0] * 255, [7, 8], rtol=1e-6)
    np.testing.assert_array_equal(classes.positions[0], np.arange(6))
    words = r"class 0 has 3 trusted images, 2 of them with a copy in the class: give at le"
    with self.assertRaisesRegex(errors.InputError, words):
      _by_class(data, _few([2, 7, 3]))

  def test_what_cannot_be_compared(self):
    data = training_sets.whole(_few([1, 2, 3, 4], [0, 0, 1, 1]))
    with self.assertRaisesRegex(errors.InputError, "class 1 has 0 trusted images: give"):
      _by_class(data, _few([7, 8]))
    alone = training_sets.whole(_few([1, 2, 3], [0, 0, 1]))
    with self.assertRaisesRegex(errors.InputError, "class 1 has 1 training images"):
      _by_class(alone, _few([7, 8, 9, 10], [0, 0, 1, 1]))
    larger = types.Dataset(np.zeros((4, 3, 2, 1), np.uint8), np.zeros(4, np.int32))
    with self.assertRaisesRegex(errors.InputError, r"\(3, 2, 1\), and training .*\(2, 2"):
      _by_class(data, larger)


if __name__ == "__main__":
  absltest.main()
