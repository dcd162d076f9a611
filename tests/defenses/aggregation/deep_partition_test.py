"""The plurality's radius, beside every change that can be made of the votes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import vote_changes
from absl.testing import absltest, parameterized

from pacd_jax.defenses.aggregation import deep_partition

_certify = jax.jit(deep_partition.certify)


class _ExactTestCase(parameterized.TestCase):
  def _check(self, num_models, num_classes, count, seed=0):
    logits = vote_changes.logits(num_models, count, num_classes, seed)
    prediction, radius = _certify(logits)
    self.assertEqual((prediction.dtype, radius.dtype), (jnp.int32, jnp.int32))
    found = np.stack([prediction, radius], axis=1)
    ways = logits.argmax(axis=2).T
    expected = [vote_changes.plurality_radius(way, num_classes) for way in ways]
    np.testing.assert_array_equal(found, expected)


class DeepPartitionTest(_ExactTestCase):
  @parameterized.parameters((1, 2), (5, 3), (6, 2))
  def test_it_is_the_radius_of_all_changes(self, num_models, num_classes):
    self._check(num_models, num_classes, 40)

  @parameterized.parameters(1, 4, 5, 1200)
  def test_where_all_agree(self, num_models):
    logits = np.zeros((num_models, 2, 3), np.float32)
    logits[:, 1, 2] = 1.0
    prediction, radius = _certify(logits)
    np.testing.assert_array_equal(prediction, [0, 2])
    # The smaller label needs half of the votes, the larger one more.
    np.testing.assert_array_equal(radius, [num_models // 2, (num_models - 1) // 2])

  def test_by_hand(self):
    """Ties between classes and rivals below and above the winner."""
    counts = np.array([[3, 3, 0], [3, 4, 0], [2, 5, 0], [2, 5, 3], [0, 0, 7], [1, 1, 1]])
    prediction, radius = jax.jit(deep_partition.from_counts)(jnp.asarray(counts, jnp.int32))
    np.testing.assert_array_equal(prediction, [0, 1, 1, 1, 2, 0])
    np.testing.assert_array_equal(radius, [0, 0, 1, 1, 3, 0])

  def test_it_can_be_mapped(self):
    logits = vote_changes.logits(5, 6, 3)
    mapped = jax.vmap(_certify)(np.stack([logits, logits[::-1]]))
    for each in zip(*mapped, strict=True):
      for a, b in zip(each, _certify(logits), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.long
class ManyCasesTest(_ExactTestCase):
  @parameterized.product(num_models=(2, 3, 4, 5, 6, 7), num_classes=(2, 3, 4))
  def test_it_is_the_radius_of_all_changes(self, num_models, num_classes):
    self._check(num_models, num_classes, 200, seed=1)


if __name__ == "__main__":
  absltest.main()
