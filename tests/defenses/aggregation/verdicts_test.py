"""Points that are right, wrong, undecided and certified."""

import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax.defenses.aggregation import verdicts


class VerdictsTest(parameterized.TestCase):
  def test_a_wrong_point_is_told_apart_from_one_with_0(self):
    radii = verdicts.radius_of_truth(
      np.array([1, 2, -1, 0], np.int32), np.array([0, 5, 0, 7], np.int32), [1, 0, 0, 0]
    )
    np.testing.assert_array_equal(radii, [0, -1, -1, 7])
    self.assertEqual(radii.dtype, np.int64)

  def test_certified_accuracy_falls(self):
    found = [verdicts.certified_accuracy([0, -1, -1, 7], m) for m in (0, 1, 7, 8)]
    self.assertEqual(found, [0.5, 0.25, 0.25, 0.0])

  @parameterized.parameters(
    ([4], 4), ([-1, 3], 3), ([-1, -1, 3], -1), ([0, 1, 2, 3], 2), ([0, 1, 2, 3, 4], 2)
  )
  def test_the_median_is_of_all_points(self, radii, expected):
    self.assertEqual(verdicts.median_certified(radii), expected)
    at = [m for m in range(9) if verdicts.certified_accuracy(radii, m) >= 0.5]
    self.assertEqual(max(at, default=-1), expected)


if __name__ == "__main__":
  absltest.main()
