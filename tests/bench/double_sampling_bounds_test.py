"""Tests of radii by two Gaussian noises: half-spaces, linear programmes, and a ball."""

import numpy as np
from absl.testing import absltest, parameterized
from scipy import optimize
from scipy.stats import chi2, ncx2, norm

from pacd_jax.bench import double_sampling_bounds as bounds


class HalfSpaceTest(parameterized.TestCase):
  @parameterized.parameters((0.6, 1.1), (0.99, 0.9))
  def test_a_half_space_gains_nothing_and_every_step_from_it_more(self, p_a, ratio):
    """From its q_A towards 1, and towards 0; without a bound of q_A nothing, either."""
    known, ordinary = bounds.half_space(p_a, ratio), norm.ppf(p_a)
    self.assertEqual(bounds.scaled_radius(p_a, 0.0, ratio, 64), ordinary)
    self.assertEqual(bounds.scaled_radius(p_a, known, ratio, 64), ordinary)
    steps = np.array([1e-4, 0.4, 0.9])
    higher = [
      bounds.scaled_radius(p_a, known + step * (1 - known), ratio, 64) for step in steps
    ]
    lower = [
      bounds.scaled_radius(p_a, 0.0, ratio, 64, q_upper=known - step * (1 - known))
      for step in steps
    ]
    for found in (higher, lower):
      np.testing.assert_allclose(found[0], ordinary, atol=2e-3)
      self.assertTrue(np.all(np.diff([ordinary, *found][1:]) > 0.0), found)

  def test_nothing_is_certified_up_to_a_half(self):
    self.assertEqual(bounds.scaled_radius(0.5, 0.99, 0.9, 64), 0.0)


class GaussianProgrammeTest(parameterized.TestCase):
  """In three dimensions, of all classifiers of x_1 and of the norm of the rest."""

  def setUp(self):
    super().setUp()
    self.x = np.linspace(-5.0, 7.0, 101)
    self.square = chi2.ppf(np.linspace(0.0, 1.0, 61), 2)

  def masses(self, scale=1.0, shift=0.0):
    of_x = np.diff(norm.cdf((self.x - shift) / scale))
    return (of_x[:, None] * np.diff(chi2.cdf(self.square / scale**2, 2))).ravel()

  def least(self, radius, p_a, q_a, under_q):
    found = optimize.linprog(
      self.masses(shift=radius),
      A_eq=np.stack([self.masses(), under_q]),
      b_eq=(p_a, q_a),
      bounds=(0.0, 1.0),
    )
    return found.fun

  @parameterized.parameters(
    (0.9, 0.8, 0.965), (0.9, 0.8, 0.92), (0.9, 1.25, 0.88), (0.9, 1.25, 0.82)
  )
  def test_agrees_for_another_variance(self, p_a, ratio, q_a):
    radius = bounds.scaled_radius(p_a, q_a, ratio, 3, q_upper=q_a)
    self.assertGreater(radius, norm.ppf(p_a) + 0.01)
    least = self.least(radius, p_a, q_a, self.masses(ratio))
    np.testing.assert_allclose(least, 0.5, atol=4e-3)


class BallTest(parameterized.TestCase):
  """f is 1 in a ball about the image, whose probabilities are chi^2 functions."""

  @parameterized.parameters(0.7, 0.95)
  def test_certifies_no_more_than_is_true(self, p_a):
    square = chi2.ppf(p_a, 64)
    true = optimize.brentq(lambda r: ncx2.cdf(square, 64, r * r) - 0.5, 0.1, 20.0)
    ordinary = norm.ppf(p_a)
    for ratio in (0.9, 1.1):
      q_a = chi2.cdf(square / ratio**2, 64)
      radius = bounds.scaled_radius(p_a, q_a, ratio, 64, q_a)
      self.assertBetween(radius, ordinary + 0.01, true)


if __name__ == "__main__":
  absltest.main()
