"""Tests of the rounded Gaussian's table against SciPy and whole-number counting."""

from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized
from scipy.stats import norm

from pacd_jax.certification import rounded_gaussian

STDS = (1.0, 32.0, 63.75, 127.5)


def _rounded(std, half):
  """P_k of the values that a table of this size has, to float64."""
  k = np.arange(-half, half)
  right = norm.sf((np.abs(k) - 0.5) / std) - norm.sf((np.abs(k) + 0.5) / std)
  return np.where(k == 0, 1.0 - 2.0 * norm.sf(0.5 / std), right)


class DistributionTest(parameterized.TestCase):
  @parameterized.parameters(*STDS)
  def test_is_the_rounded_gaussian(self, std):
    weights = rounded_gaussian.distribution(std).weights
    self.assertEqual(sum(weights), 2**64)
    half = len(weights) // 2
    self.assertGreaterEqual(half - 0.5, rounded_gaussian.REACH * std)
    expected = _rounded(std, half)
    np.testing.assert_allclose(np.array(weights) / 2.0**64, expected, atol=2e-15, rtol=0.0)
    others = np.delete(np.arange(2 * half), half)  # Rounded down: relative 1e-14, or 2^-64.
    exact = expected[others] * 2.0**64
    given = np.array([float(weights[k]) for k in others])
    np.testing.assert_array_less(given, exact * (1.0 + 1e-12) + 1e-3)
    np.testing.assert_array_less(exact * (1.0 - 1e-12) - 1.001, given)

  @parameterized.parameters(0.5, 1.0, 2.0)
  def test_distance_is_the_total_variation_by_brute_force(self, reach):
    """With a short reach, whose tail is far above float64's rounding."""
    distribution = rounded_gaussian.distribution.__wrapped__
    with mock.patch.object(rounded_gaussian, "REACH", reach):
      weights, distance = distribution(20.0)
    half = len(weights) // 2
    expected = _rounded(20.0, half)
    beyond = norm.sf((half - 0.5) / 20.0) + norm.sf((half + 0.5) / 20.0)
    apart = np.abs(np.array(weights) / 2.0**64 - expected).sum() + beyond
    np.testing.assert_allclose(distance, 0.5 * apart, rtol=1e-9)

  @parameterized.parameters(*STDS)
  def test_distance_is_tiny(self, std):
    self.assertBetween(rounded_gaussian.distribution(std).distance, 1e-19, 2e-15)

  def test_pi(self):
    self.assertStartsWith(str(rounded_gaussian._pi()), "3.1415926535897932384626433832795")


class AliasTableTest(parameterized.TestCase):
  @parameterized.parameters(*STDS)
  def test_columns_and_aliases_add_up_to_the_weights(self, std):
    weights = rounded_gaussian.distribution(std).weights
    entries, seconds = rounded_gaussian.alias_table(std)
    bits = rounded_gaussian.log2_columns(std)
    self.assertLen(entries, 2**bits)
    self.assertLen(weights, 2**bits)
    found = [0] * 2**bits
    for column, (entry, second) in enumerate(zip(entries, seconds, strict=True)):
      threshold = (int(entry) >> bits << 32) + int(second)
      self.assertLess(threshold, 2 ** (64 - bits))
      found[column] += threshold
      found[int(entry) % 2**bits] += 2 ** (64 - bits) - threshold
    self.assertEqual(found, list(weights))


if __name__ == "__main__":
  absltest.main()
