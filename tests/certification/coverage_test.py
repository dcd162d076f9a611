"""Certificates of the classifier whose radius is known: right, and as large as they can."""

import as_users_run
import jax
import linear_classifier
import numpy as np
import pytest
from absl.testing import absltest, parameterized
from scipy.stats import binom, norm, poisson

from pacd_jax.certification import certify, confidence, provenance, sampling


def _certify(distances, **settings):
  images, key = linear_classifier.images(distances), jax.random.key(0)
  params = linear_classifier.PARAMS
  return certify.certify(linear_classifier.apply, params, images, key, **settings)


@pytest.mark.long
class LinearClassifierTest(absltest.TestCase):
  """A smoothed linear classifier's radius is the distance |w.x + b| / |w| to its plane.

  2,000 points, t sigma from the plane on either side in turn: votes for the side they
  are on are Binomial(n, Phi(t)), which makes the law of the certified radius exact.
  Single points cannot all have a radius within 5 % or 0.02 sigma of the distance: the
  bound lies 3.1 standard deviations of the votes low and a few more are chance.
  """

  N0, N, ALPHA = 10_000, 100_000, 0.001

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.t = (np.arange(2000) + 0.5) / 2000 * 4.5
    cls.p = norm.cdf(cls.t)
    side = np.arange(2000) % 2  # The class on the point's side of the plane.
    settings = dict(sigma=0.1, n0=cls.N0, n=cls.N, alpha=cls.ALPHA, batch_size=10_000)
    distances = 0.1 * cls.t * (2 * side - 1)
    prediction, radius, cls.counts = as_users_run.call(_certify, distances, **settings)
    cls.radius, cls.wrong = radius / 0.1, (prediction != side) & (prediction >= 0)
    cls.tolerance = np.maximum(0.05 * cls.t, 0.02)

  def test_above_the_distance_with_probability_at_most_alpha(self):
    bounds = confidence.clopper_pearson_lower(np.arange(self.N + 1), self.N, self.ALPHA)
    fewest = np.searchsorted(bounds, self.p, side="right")  # Votes that claim too much.
    probability = binom.sf(fewest - 1, self.N, self.p)
    self.assertLessEqual(probability.max(), self.ALPHA * (1.0 + 1e-9))  # Rounding.
    # So 1.5 of the 2,000 are expected; one key in a thousand has more than this bound.
    above = (self.radius > self.t) | self.wrong
    self.assertLessEqual(above.sum(), poisson.isf(1e-3, probability.sum()))

  def test_below_the_distance_by_little_on_average(self):
    counts = np.arange(self.N + 1)
    bounds = confidence.clopper_pearson_lower(counts, self.N, self.ALPHA)
    radii = np.maximum(norm.ppf(bounds), 0.0)
    for t in np.arange(0.0, 3.51, 0.1):  # Exact, at every distance short of the cap's.
      mean = binom.pmf(counts, self.N, norm.cdf(t)) @ (t - radii)
      self.assertLessEqual(mean, max(0.05 * t, 0.02))
    for start in np.arange(0.0, 3.5, 0.25):  # Measured.
      some = (self.t >= start) & (self.t < start + 0.25)
      shortfall = (self.t - self.radius)[some].mean()
      self.assertLessEqual(shortfall, self.tolerance[some].mean())

  def test_below_the_distance_by_more_for_as_few_points_as_must_be(self):
    # P[radius < t - tolerance], by the duality of bounds and binomial tests, not by
    # ours; n0 votes for the wrong class lead to abstention, and that is a miss too.
    least = norm.cdf(self.t - self.tolerance)
    miss = binom.cdf(binom.isf(self.ALPHA, self.N, least), self.N, self.p)
    miss = 1.0 - binom.sf(self.N0 // 2, self.N0, self.p) * (1.0 - miss)
    miss = np.where(self.t > self.tolerance, miss, 0.0)
    missed = self.t - self.radius > self.tolerance
    for start, end in ((0.0, 0.6), (0.6, 2.8), (2.8, 3.5), (3.5, 4.5)):
      some = (self.t >= start) & (self.t < end)
      law, count = miss[some], missed[some].sum()
      slack = 4.0 * np.sqrt(np.sum(law * (1.0 - law)))  # Four standard deviations.
      self.assertBetween(count, law.sum() - slack, law.sum() + slack)
      if start == 0.6:
        self.assertEqual(count, 0)

  def test_cap(self):
    cap = confidence.largest_radius(1.0, self.N, self.ALPHA)
    unanimous = self.counts.max(axis=1) == self.N
    self.assertTrue(unanimous.any())
    np.testing.assert_allclose(self.radius[unanimous], cap, rtol=1e-12)
    self.assertLess(self.radius[~unanimous].max(), cap)
    self.assertFalse(unanimous[self.t < 3.5].any())


@pytest.mark.long
class FewerSamplesTest(parameterized.TestCase):
  """Modes adaptive and aca on the linear classifier, end to end."""

  N, ALPHA = 10_000, 0.01

  def _run(self, t, mode, labels=None):
    """Predictions, radii in sigma, and votes; points alternate sides of the plane."""
    side = np.arange(len(t)) % 2
    settings = dict(mode=mode, labels=labels, sigma=0.1, batch_size=10_000)
    settings |= dict(n0=200, n=self.N, alpha=self.ALPHA)
    prediction, radius, counts = _certify(0.1 * t * (2 * side - 1), **settings)
    return prediction, radius / 0.1, counts, side

  @parameterized.parameters("adaptive", "aca")
  def test_above_the_distance_with_probability_at_most_alpha(self, mode):
    t = (np.arange(1000) + 0.5) / 1000 * 4.0
    prediction, radius, counts, side = self._run(t, mode)
    wrong = (prediction >= 0) & ((prediction != side) | (radius > t))
    self.assertLessEqual(wrong.sum(), binom.isf(1e-3, len(t), self.ALPHA))
    far = t > 0.1  # Nearly all of these have a certificate, by n votes at least.
    self.assertGreater(np.mean(prediction[far] == side[far]), 0.97)
    # Both spare most of the votes; some of the points closest to the plane need them all.
    self.assertLess(counts.sum(), {"adaptive": 0.8, "aca": 0.1}[mode] * self.N * len(t))
    sidecar = sampling.make(mode, sigma=0.1, n0=200, n=self.N, alpha=self.ALPHA).sidecar
    allowed = provenance.allowed_votes({**sidecar, "n": self.N})
    self.assertContainsSubset(counts.sum(axis=1), allowed)

  def test_points_whose_label_is_not_ahead_are_given_up(self):
    t = np.full(40, 1.0)
    side = np.arange(40) % 2
    prediction, radius, counts, _ = self._run(t, "aca", labels=1 - side)
    np.testing.assert_array_equal(prediction, np.full(40, -1))
    self.assertEqual((radius.max(), counts.sum()), (0.0, 0))
    right = self._run(t, "aca", labels=side)[0]
    np.testing.assert_array_equal(right, side)


if __name__ == "__main__":
  absltest.main()
