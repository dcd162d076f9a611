"""Tests of radii by votes in a ball: half-spaces, a linear programme, and a ball itself."""

import numpy as np
from absl.testing import absltest, parameterized
from scipy import optimize
from scipy.stats import beta, chi2, gamma, ncx2, norm

from pacd_jax.bench import double_sampling_ball as ball

SHARE = 0.7  # Of P, in the ball.


def of_half_space(p_a, size):
  """q_A in the ball of a half-space, by an integral over x_1."""
  x = np.linspace(-9.0, norm.ppf(p_a), 4001)
  square = chi2.ppf(SHARE, size)
  inside = norm.pdf(x) * chi2.cdf(square - x**2, size - 1)
  return np.trapezoid(inside, x) / SHARE


class GaussianTest(parameterized.TestCase):
  @parameterized.product(p_a=(0.6, 0.99), size=(16, 784))
  def test_a_half_space_gains_nothing_and_every_step_from_it_more(self, p_a, size):
    noise = ball.Noise(size, size)
    known = of_half_space(p_a, size)
    np.testing.assert_allclose(ball.worst_in_ball(noise, p_a, SHARE), known, atol=1e-4)
    radii = [
      ball.radius(noise, p_a, SHARE, known + step * (1.0 - known))
      for step in (-0.1, 0.0, 1e-2, 0.3, 0.6, 0.9)
    ]
    np.testing.assert_allclose(radii[:3], norm.ppf(p_a), atol=5e-3)
    self.assertTrue(np.all(np.diff(radii[2:]) > 0.0), radii)
    lower = ball.radius(noise, p_a, SHARE, 0.0, 1.3 * known - 0.3)
    self.assertGreater(lower, norm.ppf(p_a) + 1e-3)

  @parameterized.parameters(0.97, 0.8)
  def test_agrees_with_a_linear_programme(self, q_a):
    """In three dimensions, of all classifiers of x_1 and of the norm of the rest."""
    radius = ball.radius(ball.Noise(3, 3), 0.85, SHARE, q_a, q_a)
    self.assertGreater(radius, norm.ppf(0.85) + 0.01)
    x, levels = np.linspace(-5.0, 7.0, 101), np.linspace(0.0, 1.0, 121)
    under_p, shifted = (
      np.repeat(np.diff(norm.cdf(x - shift)) / 60, 60) for shift in (0.0, radius)
    )
    middle, rest = 0.5 * (x[1:] + x[:-1]), chi2.ppf(levels[1::2], 2)
    is_inside = (middle[:, None] ** 2 + rest < chi2.ppf(SHARE, 3)).ravel()
    found = optimize.linprog(
      shifted,
      A_eq=np.stack([under_p, under_p * is_inside / (under_p @ is_inside)]),
      b_eq=(0.85, q_a),
      bounds=(0.0, 1.0),
    )
    np.testing.assert_allclose(found.fun, 0.5, atol=8e-3)

  def test_nothing_is_certified_up_to_a_half(self):
    self.assertEqual(ball.radius(ball.Noise(64, 8), 0.5, SHARE, 0.99), 0.0)


class BallTest(parameterized.TestCase):
  """f is 1 in the ball and nowhere else: nothing else has its p_A, and q_A of 1."""

  def test_is_exact_for_a_gaussian(self):
    square = chi2.ppf(SHARE, 64)
    true = optimize.brentq(lambda r: ncx2.cdf(square, 64, r * r) - 0.5, 0.1, 20.0)
    found = ball.radius(ball.Noise(64, 64), SHARE, SHARE, 1.0)
    np.testing.assert_allclose(found, true, atol=2e-3)

  @parameterized.parameters(8, 24)
  def test_is_exact_for_a_generalised_gaussian(self, degrees):
    """Against draws of it: norms by the gamma distribution, cosines by the beta."""
    radius = ball.radius(ball.Noise(64, degrees), SHARE, SHARE, 1.0)
    rng = np.random.default_rng(0)
    drawn = gamma.rvs(degrees / 2, scale=128 / degrees, size=200_000, random_state=rng)
    cosine = 2.0 * beta.rvs(31.5, 31.5, size=200_000, random_state=rng) - 1.0
    moved = drawn + radius**2 + 2.0 * radius * np.sqrt(drawn) * cosine
    square = gamma.ppf(SHARE, degrees / 2, scale=128 / degrees)
    np.testing.assert_allclose((moved < square).mean(), 0.5, atol=5e-3)
    alone = ball.radius(ball.Noise(64, degrees), SHARE)
    self.assertLess(alone, radius - 0.05)


if __name__ == "__main__":
  absltest.main()
