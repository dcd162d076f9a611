"""Which images a backdoor is planted in: an exact share, by the key, of other classes."""

import jax
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors, types
from pacd_jax.attacks.backdoors import dirty_label


class DrawTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    labels = np.repeat(np.arange(4), [10, 20, 30, 40]).astype(np.int32)
    self.train = types.Dataset(np.zeros((100, 2, 2, 1), np.uint8), labels)

  def draw(self, share, seed=0, **options):
    return dirty_label.draw(self.train, jax.random.key(seed), share=share, **options)

  @parameterized.parameters((0.1, 10), (0.015, 2), (0.6, 60), (0.0001, 1))
  def test_the_share_is_exact_and_of_other_classes(self, share, number):
    found = self.draw(share, without=3)
    self.assertLen(found, number)
    self.assertTrue((np.diff(found) > 0).all())
    self.assertNotIn(3, self.train.labels[found])

  def test_it_is_the_keys_and_smaller_ones_are_within_larger(self):
    one = self.draw(0.2, without=0)
    np.testing.assert_array_equal(one, self.draw(0.2, without=0))
    self.assertFalse(np.array_equal(one, self.draw(0.2, seed=1, without=0)))
    self.assertContainsSubset(one, self.draw(0.5, without=0))

  def test_of_all_classes(self):
    np.testing.assert_array_equal(self.draw(1.0), np.arange(100))

  def test_more_than_other_classes_have(self):
    message = "0.61 of 100 training images is 61, but 60 are of other .* 3: use at most 0.6"
    with self.assertRaisesRegex(errors.InputError, message):
      self.draw(0.61, without=3)

  def test_random_labels_are_uniform(self):
    """A share 1 - 1 / K of them is wrong, whatever the images' own."""
    labels = dirty_label.random_labels(jax.random.key(0), 4000, 4)
    own = self.train.labels[np.arange(4000) % 100]
    self.assertAlmostEqual((labels != own).mean(), 0.75, delta=0.03)
    np.testing.assert_allclose(np.bincount(labels) / 4000, 0.25, atol=0.03)


if __name__ == "__main__":
  absltest.main()
