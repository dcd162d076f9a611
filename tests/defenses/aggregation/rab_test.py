"""RAB's radius: its bounds, its confidence, and a learner whose training is exact."""

import itertools

import numpy as np
import scipy.special
import scipy.stats
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.defenses.aggregation import rab


class CertifyTest(parameterized.TestCase):
  def test_the_bounds_are_exact_and_share_alpha(self):
    prediction, radius = rab.certify([[1, 9, 0]], [[60, 900, 40]], 0.5, 0.02)
    own = scipy.stats.binomtest(900, 1000).proportion_ci(0.98).low
    # A two-sided interval of level 1 - a is two one-sided bounds at a / 2.
    other = scipy.stats.binomtest(60, 1000).proportion_ci(1 - 0.01).high
    expected = 0.25 * (scipy.special.ndtri(own) - scipy.special.ndtri(other))
    np.testing.assert_array_equal(prediction, [1])
    np.testing.assert_allclose(radius, [expected], rtol=1e-9)

  def test_of_two_classes_it_is_the_quantile_of_one(self):
    _, radius = rab.certify([[10, 0]], [[95, 5]], 2.0, 0.002)
    own = scipy.stats.binomtest(95, 100).proportion_ci(0.998).low
    np.testing.assert_allclose(radius, [2.0 * scipy.special.ndtri(own)], rtol=1e-9)

  def test_the_class_is_of_other_models(self):
    prediction, radius = rab.certify([[1, 9]], [[99, 1]], 1.0, 0.01)
    np.testing.assert_array_equal((prediction, radius), ([-1], [0.0]))
    prediction, radius = rab.certify([[5, 5]], [[99, 1]], 1.0, 0.01)
    np.testing.assert_array_equal(prediction, [0])
    self.assertGreater(radius[0], 0.0)

  def test_what_is_not_decided(self):
    prediction, radius = rab.certify([[6, 4]] * 2, [[50, 50], [55, 45]], 1.0, 0.01)
    np.testing.assert_array_equal(prediction, [-1, -1])
    np.testing.assert_array_equal(radius, [0.0, 0.0])

  @parameterized.parameters(0.25, 1.0, 7.0)
  def test_it_is_linear_in_sigma(self, sigma):
    votes = np.array([[80, 15, 5], [40, 35, 25]])
    prediction, radius = rab.certify(votes, votes, sigma, 0.05)
    of_one = rab.certify(votes, votes, 1.0, 0.05)
    np.testing.assert_array_equal(prediction, of_one[0])
    np.testing.assert_allclose(radius, sigma * of_one[1], rtol=1e-12)

  def test_without_noise_it_is_0(self):
    prediction, radius = rab.certify([[9, 1]], [[90, 10]], 0.0, 0.05)
    np.testing.assert_array_equal((prediction, radius), ([0], [0.0]))

  @parameterized.parameters(0.1, 0.02)
  def test_it_is_wrong_as_often_as_alpha_says(self, alpha):
    """Of votes with known probabilities, above the radius of these."""
    chances, sigma = np.array([0.6, 0.3, 0.1]), 1.0
    rng = np.random.default_rng(0)
    counts = rng.multinomial(200, chances, 10_000)
    chosen = np.broadcast_to([1, 0, 0], counts.shape)
    _, radius = rab.certify(chosen, counts, sigma, alpha)
    _, truth = rab.from_bounds(np.zeros(1), chances[:1], chances[1:2], sigma)
    self.assertLess((radius > truth).mean(), alpha)

  @parameterized.parameters((0.5, 0.6), (0.0, 1.0), (-0.5, 1.5), (0.5, float("nan")))
  def test_shares_of_alpha_that_do_not_sum_up(self, *shares):
    with self.assertRaisesRegex(errors.InputError, "use two above 0 that sum to 1"):
      rab.certify([[1, 0]], [[9, 1]], 1.0, 0.01, shares=shares)

  @parameterized.parameters(-1.0, float("nan"))
  def test_a_sigma_that_there_is_not(self, sigma):
    with self.assertRaisesRegex(errors.InputError, "sigma of .*: use 0 or more"):
      rab.certify([[1, 0]], [[9, 1]], sigma, 0.01)


class LinearLearnerTest(parameterized.TestCase):
  """w = sum_i y_i x_i with noise on every x_i: P[w'x > 0] is a normal's.

  The learner has a radius of its own, |w'x| / (n^(1/2) |x|): the least total change of all
  training images that turns the mean of w'x, and so the smoothed prediction.
  """

  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    self.signs = np.where(np.arange(8) % 2, 1.0, -1.0)
    self.images = rng.normal(0.5, 0.2, (8, 4)) + 0.2 * self.signs[:, None]
    self.queries = rng.normal(0.0, 1.0, (20, 4))

  def _probability(self, images, sigma):
    """P[class 1] of each query."""
    spread = sigma * np.sqrt(len(images)) * np.linalg.norm(self.queries, axis=1)
    return scipy.special.ndtr(self.queries @ (images.T @ self.signs) / spread)

  def _radius(self, sigma, num_models):
    """From the counts that are expected, at a confidence of almost 1/2."""
    of_one = num_models * self._probability(self.images, sigma)
    counts = np.stack([num_models - of_one, of_one], axis=1).round().astype(int)
    return rab.certify(counts, counts, sigma, 0.9, shares=(0.5, 0.5))

  def test_it_is_the_learners_own(self):
    margins = np.abs(self.queries @ (self.images.T @ self.signs))
    expected = margins / (np.sqrt(8) * np.linalg.norm(self.queries, axis=1))
    prediction, radius = self._radius(1.0, 10**8)
    decided = prediction >= 0
    self.assertGreater(decided.sum(), 15)
    np.testing.assert_allclose(radius[decided], expected[decided], atol=1e-3)

  def test_no_change_of_one_image_below_it_moves_a_prediction(self):
    prediction, radius = self._radius(1.0, 1000)
    directions = np.stack([self.queries, -self.queries])
    directions = directions / np.linalg.norm(directions, axis=2, keepdims=True)
    for point, image in itertools.product(np.flatnonzero(prediction >= 0), range(8)):
      for direction in directions[:, point]:
        changed = self.images.copy()
        changed[image] += 0.999 * radius[point] * direction
        after = self._probability(changed, 1.0)[point] > 0.5
        self.assertEqual(after, prediction[point])


if __name__ == "__main__":
  absltest.main()
