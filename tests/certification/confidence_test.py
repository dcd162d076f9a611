"""Confidence bounds and radii against SciPy and hand-computed votes."""

import numpy as np
from absl.testing import absltest, parameterized
from scipy.stats import binom, binomtest, norm

from pacd_jax.certification import confidence


class ClopperPearsonTest(parameterized.TestCase):
  @parameterized.product(n=(1, 50, 1000), alpha=(0.001, 0.05))
  def test_is_one_side_of_the_two_sided_interval(self, n, alpha):
    for count in {0, 1, n // 3, n // 2, n - 1, n}:
      interval = binomtest(count, n).proportion_ci(1.0 - 2.0 * alpha, method="exact")
      bound = confidence.clopper_pearson_lower(count, n, alpha)
      self.assertIsInstance(bound, np.float64)
      # SciPy finds its interval by bisection, to 2e-12.
      np.testing.assert_allclose(bound, interval.low, rtol=1e-8, atol=4e-12)

  @parameterized.parameters(
    (2, 10, 1e-200, (1e-200 / 45.0) ** 0.5),
    (2, 1000, 1e-300, (1e-300 / 499_500.0) ** 0.5),
    (9, 10, 1e-300, (1e-300 / 10.0) ** (1.0 / 9.0)),
  )
  def test_tails_at_which_scipy_gives_up(self, count, n, alpha, expected):
    """For p near 0 the tail is C(n, count) p^count."""
    bound = confidence.clopper_pearson_lower(count, n, alpha)
    np.testing.assert_allclose(bound, expected, rtol=1e-6)
    both = confidence.clopper_pearson_lower([count, n], n, [alpha, 0.001])
    np.testing.assert_array_equal(both, [bound, both[1]])

  @parameterized.product(n=(10, 1000, 10**7), alpha=(0.3, 1e-12, 1e-100, 1e-300))
  def test_has_the_tail_that_it_claims(self, n, alpha):
    counts = np.unique([1, 2, n // 10, n // 2, n - 1, n])
    bounds = confidence.clopper_pearson_lower(counts, n, alpha)
    tails = binom.sf(counts - 1, n, bounds)
    self.assertTrue(np.isfinite(bounds).all())
    self.assertTrue((tails <= alpha * (1.0 + 1e-5)).all(), tails / alpha)

  def test_no_votes_and_unanimous_votes(self):
    bounds = confidence.clopper_pearson_lower(np.array([0, 100_000]), 100_000, 0.001)
    np.testing.assert_allclose(bounds, [0.0, 0.001**1e-5], rtol=1e-14)

  @parameterized.product(n=(20, 1000), alpha=(0.001, 0.05))
  def test_fails_with_probability_at_most_alpha(self, n, alpha):
    counts = np.arange(n + 1)
    bounds = confidence.clopper_pearson_lower(counts, n, alpha)
    for p in np.linspace(0.0, 1.0, 101):
      self.assertLessEqual(binom.pmf(counts, n, p)[bounds > p].sum(), alpha)

  def test_each_point_has_its_own_numbers(self):
    points = (0, 0, 0.1), (9, 10, 0.001), (90, 100, 0.05), (2.5, 10, 0.05)
    count, n, alpha = zip(*points, strict=True)
    bounds = confidence.clopper_pearson_lower(count, n, alpha)
    alone = [confidence.clopper_pearson_lower(*point) for point in points]
    np.testing.assert_array_equal(bounds, alone)
    self.assertEqual(bounds[0], 0.0)  # Nothing is known without trials.
    radii = confidence.radius(count, n, sigma=0.5, alpha=alpha)
    np.testing.assert_array_equal(radii, 0.5 * norm.ppf(bounds))
    self.assertEqual(radii[0], -np.inf)

  @parameterized.parameters((-1, 10, 0.1), (11, 10, 0.1), (5, 10, 0.0), (5, 10, 1.0))
  def test_refuses_what_is_out_of_range(self, count, n, alpha):
    with self.assertRaises(ValueError):
      confidence.clopper_pearson_lower(count, n, alpha)


class CertificateTest(parameterized.TestCase):
  def test_class_of_the_first_votes_radius_of_the_second(self):
    result = confidence.certificate([2, 8, 0], [50, 900, 50], sigma=0.5, alpha=0.01)
    low = binomtest(900, 1000).proportion_ci(0.98, method="exact").low
    self.assertEqual(result.prediction, 1)
    np.testing.assert_allclose(result.radius, 0.5 * norm.ppf(low), rtol=1e-8)
    np.testing.assert_array_equal(result.counts, [50, 900, 50])
    self.assertEqual(result.counts.dtype, np.int64)

  @parameterized.parameters(([5, 5], [540, 460]), ([0, 9], [1000, 0]), ([9, 0], [0, 9]))
  def test_abstains(self, counts0, counts):
    # A bound of 1/2 takes 550 of 1,000 votes at alpha = 0.001.
    result = confidence.certificate(counts0, counts, sigma=0.5, alpha=0.001)
    self.assertEqual((result.prediction, result.radius), (-1, 0.0))

  def test_fewest_votes_that_do_not_abstain(self):
    fewest = int(binom.isf(0.001, 1000, 0.5)) + 1
    for count, prediction in ((fewest - 1, -1), (fewest, 0)):
      votes = [count, 1000 - count]
      result = confidence.certificate([9, 1], votes, sigma=0.5, alpha=0.001)
      self.assertEqual(result.prediction, prediction)

  def test_unanimous_votes_have_the_largest_radius(self):
    result = confidence.certificate([10, 0], [1000, 0], sigma=0.25, alpha=0.001)
    self.assertAlmostEqual(result.radius, confidence.largest_radius(0.25, 1000, 0.001))

  @parameterized.parameters((100_000, 3.811), (10_000, 3.199), (9, 0.0))
  def test_largest_radius(self, n, sigmas):
    radius = confidence.largest_radius(0.25, n, 0.001)
    self.assertAlmostEqual(radius, 0.25 * sigmas, delta=0.25 * 5e-4)

  @parameterized.parameters((9, 0.001, False), (10, 0.001, True), (1, 0.5, False))
  def test_can_certify(self, n, alpha, expected):
    self.assertEqual(confidence.can_certify(n, alpha), expected)
    result = confidence.certificate([1, 0], [n, 0], sigma=1.0, alpha=alpha)
    self.assertEqual(result.radius > 0.0, expected)

  @parameterized.parameters(0.001, 0.05, 0.3, 0.49, 1e-9)
  def test_least_votes(self, alpha):
    least = confidence.least_votes(alpha)
    self.assertTrue(confidence.can_certify(least, alpha))
    self.assertFalse(least > 1 and confidence.can_certify(least - 1, alpha))


if __name__ == "__main__":
  absltest.main()
