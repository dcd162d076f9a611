"""Tests of the bounds that were measured: definitions, coverage, and special cases."""

import itertools

import numpy as np
from absl.testing import absltest, parameterized
from scipy.stats import binom, norm

from pacd_jax.bench import tighter_bounds
from pacd_jax.certification import confidence

ALPHA = 0.01


class RandomisedTest(parameterized.TestCase):
  def test_is_the_ordinary_bound_at_one_and_rises_as_u_falls(self):
    count = np.arange(31)
    ordinary = confidence.clopper_pearson_lower(count, 30, ALPHA)
    bounds = [
      tighter_bounds.randomised_lower(count, 30, ALPHA, u) for u in (1.0, 0.6, 0.2, 0.02)
    ]
    np.testing.assert_allclose(bounds[0], ordinary, atol=1e-12)
    self.assertGreaterEqual(np.min(bounds), 0.0)
    for low, high in itertools.pairwise(bounds):
      self.assertTrue(np.all(low <= high))
      self.assertTrue(np.all(low[1:] < high[1:]))

  @parameterized.parameters(0.3, 0.7, 0.97)
  def test_exceeds_p_with_probability_alpha(self, p):
    """Summed over all counts; u on a fine grid. The ordinary bound's share is lower."""
    count, u = np.arange(31)[:, None], ((np.arange(2000) + 0.5) / 2000)[None]
    above = tighter_bounds.randomised_lower(count, 30, ALPHA, u) > p
    share = (binom.pmf(count[:, 0], 30, p) * above.mean(axis=1)).sum()
    np.testing.assert_allclose(share, ALPHA, rtol=0.01)


class SequenceTest(absltest.TestCase):
  def test_is_above_p_at_any_time_with_probability_at_most_alpha(self):
    """Walks of 300 samples, looked at after each one, counted exactly by their sums."""
    p, alive = 0.8, np.array([1.0])
    for n in range(1, 301):
      alive = np.append(alive * (1.0 - p), 0.0) + np.append(0.0, alive * p)
      is_above = tighter_bounds.sequence_lower(np.arange(n + 1), n, 0.1) > p
      alive = np.where(is_above, 0.0, alive)
    self.assertBetween(1.0 - alive.sum(), 0.01, 0.1)

  def test_is_below_the_bound_for_one_look(self):
    count = np.arange(101)
    ordinary = confidence.clopper_pearson_lower(count, 100, ALPHA)
    found = tighter_bounds.sequence_lower(count, 100, ALPHA)
    self.assertTrue(np.all(found <= ordinary))


class SecondOrderTest(parameterized.TestCase):
  @parameterized.parameters(0.55, 0.9, 0.999)
  def test_is_that_of_cohen_for_a_linear_classifier_and_larger_for_flatter_ones(self, p_a):
    steepest = tighter_bounds.steepness(norm.ppf(p_a))
    radii = [
      tighter_bounds.second_order_radius(p_a, share * steepest)
      for share in (1.0, 0.9, 0.5, 0.1, 0.0)
    ]
    np.testing.assert_allclose(radii[0], norm.ppf(p_a), rtol=1e-6)
    self.assertTrue(np.all(np.diff(radii) > 0.0))

  def test_is_exact_for_the_worst_classifier(self):
    """f = 1 where t1 < t < t2: its probability at distance r is known."""
    t1, t2 = -2.0, 1.2
    p_a = norm.cdf(t2) - norm.cdf(t1)
    radius = tighter_bounds.second_order_radius(p_a, norm.pdf(t2) - norm.pdf(t1))
    np.testing.assert_allclose(
      norm.cdf(t2 - radius) - norm.cdf(t1 - radius), 0.5, rtol=1e-6
    )


if __name__ == "__main__":
  absltest.main()
