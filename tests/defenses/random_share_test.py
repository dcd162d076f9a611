"""Random shares: how many of each class stay, and which."""

import jax
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors, types
from pacd_jax.data import training_sets
from pacd_jax.defenses import identity, random_share
from pacd_jax.experiment.entries import data_sets


def _digits():
  return training_sets.whole(data_sets.load("digits").train)


def _kept(training_set, share, seed=0):
  key = jax.random.key(seed)
  return random_share.random_share(training_set, key, None, share=share)


class IdentityTest(absltest.TestCase):
  def test_it_changes_nothing(self):
    before = training_sets.keep(_digits(), np.arange(0, 1000, 3))
    after, report = identity.identity(before, jax.random.key(0), None)
    self.assertIs(after, before)
    self.assertEqual([len(positions) for positions in report[:3]], [0, 0, 0])
    self.assertEmpty(report.values)


class RandomShareTest(parameterized.TestCase):
  @parameterized.parameters(1e-6, 0.1, 0.5, 0.93, 1.0)
  def test_of_every_class_a_share_at_least_one_image(self, share):
    before = training_sets.keep(_digits(), np.arange(50, 1000))
    after, report = _kept(before, share)
    counts = np.bincount(before.labels[before.present])
    expected = [max(1, round(share * count)) for count in counts]
    np.testing.assert_array_equal(np.bincount(after.labels[after.present]), expected)
    np.testing.assert_array_equal(
      np.sort([*report.removed, *after.present]), before.present
    )
    self.assertIs(after.images, before.images)
    self.assertIs(after.labels, before.labels)

  def test_a_smaller_share_is_part_of_a_larger_one_of_its_key(self):
    few, more, others = (
      set(_kept(_digits(), share, seed)[0].present.tolist())
      for share, seed in ((0.25, 0), (0.5, 0), (0.5, 1))
    )
    self.assertLess(few, more)
    self.assertNotEqual(more, others)

  def test_every_image_stays_as_often(self):
    """Of 40 images of a class half stay: over 200 keys, 100 +- 5 deviations of 7.1."""
    labels = (np.arange(80) % 2).astype(np.int32)
    data = types.Dataset(np.zeros((80, 2, 2, 1), np.uint8), labels)
    counts = np.zeros(80, int)
    for seed in range(200):
      counts[_kept(training_sets.whole(data), 0.5, seed)[0].present] += 1
    np.testing.assert_allclose(counts, 100, atol=36)

  @parameterized.parameters(0.0, -0.1, 1.01, float("nan"))
  def test_another_share_is_refused(self, share):
    with self.assertRaisesRegex(errors.InputError, r"cannot be kept: use one in \(0, 1\]"):
      _kept(_digits(), share)


if __name__ == "__main__":
  absltest.main()
