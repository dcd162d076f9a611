"""How much of a training set is changed, in each certificate's unit."""

import numpy as np
from absl.testing import absltest
from small_training import separable

from pacd_jax.data import training_sets
from pacd_jax.defenses.aggregation import changes


class ChangesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.whole = training_sets.whole(separable(20))
    images = self.whole.images.copy()
    images[[2, 5]] += 3  # Each of four pixels, none of which is over 220.
    self.images = self.whole._replace(images=images)
    self.labels = training_sets.relabel(self.whole, np.array([7]), np.array([0]))
    self.both = self.images._replace(labels=self.labels.labels)

  def _sizes(self, after):
    found = changes.replaced, changes.removed_or_inserted, changes.flipped, changes.norm
    return [each(self.whole, after) for each in found]

  def test_nothing(self):
    self.assertEqual(self._sizes(self.whole), [0, 0, 0, 0])

  def test_images(self):
    norm = np.sqrt(8 * 9) / 255
    np.testing.assert_allclose(self._sizes(self.images), [2, 4, np.inf, norm])

  def test_labels(self):
    self.assertEqual(self._sizes(self.labels), [1, 1, 1, np.inf])

  def test_both(self):
    self.assertEqual(self._sizes(self.both), [3, 5, np.inf, np.inf])

  def test_removed_and_inserted(self):
    fewer = training_sets.keep(self.whole, np.arange(17))
    self.assertEqual(self._sizes(fewer), [3, 3, np.inf, np.inf])
    more = training_sets.insert(fewer, self.whole.images[:2], np.zeros(2, np.int32))
    self.assertEqual(self._sizes(more), [5, 5, np.inf, np.inf])


if __name__ == "__main__":
  absltest.main()
