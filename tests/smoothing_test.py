"""Soft smoothing against closed forms, and gradients at the probabilities' ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import absltest, parameterized
from jax.scipy.stats import norm
from scipy import stats

from pacd_jax import smoothing


def _linear(params, images):
  """Two logits -s, s with s = w.x + b on flattened images."""
  score = images.reshape(images.shape[0], -1) @ params["w"] + params["b"]
  return jnp.stack([-score, score], axis=-1)


_PARAMS = {"w": jnp.array([3.0, 4.0]), "b": jnp.float32(-0.5)}


class SoftSmoothedProbsTest(parameterized.TestCase):
  @parameterized.parameters(0.25, 0.5)
  def test_linear_classifier_has_gaussian_probability(self, sigma):
    """P[w.(x + e) + b > 0] = Phi((w.x + b) / (sigma |w|)) as beta grows."""
    images = jnp.array([[0.2, 0.1], [0.0, 0.1], [0.3, 0.05]]).reshape(3, 2, 1, 1)
    probs = smoothing.soft_smoothed_probs(
      _linear,
      _PARAMS,
      images,
      jax.random.key(0),
      sigma=sigma,
      num_samples=100_000,
      inverse_temperature=1e4,
    )
    margin = images.reshape(3, 2) @ _PARAMS["w"] + _PARAMS["b"]
    expected = stats.norm.cdf(np.asarray(margin) / (5.0 * sigma))
    # Four standard errors of 100,000 votes.
    np.testing.assert_allclose(probs[:, 1], expected, atol=4 * 0.5 / np.sqrt(1e5))

  def test_rows_sum_to_one_and_draws_belong_to_images(self):
    images = jnp.array([0.0, 1.0]).reshape(2, 1, 1, 1)
    params = {"w": jnp.array([1.0]), "b": jnp.float32(-0.5)}
    probs = smoothing.soft_smoothed_probs(
      _linear, params, images, jax.random.key(1), sigma=0.01, num_samples=7
    )
    np.testing.assert_allclose(probs.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(probs.argmax(axis=1), [0, 1])

  def test_noise_is_not_clipped(self):
    def reveal(params, images):
      del params
      outside = (images < 0) | (images > 1)
      return jnp.stack([outside.mean((1, 2, 3)), jnp.zeros(len(images))], -1)

    images = jnp.zeros((1, 8, 8, 1))
    probs = smoothing.soft_smoothed_probs(
      reveal, {}, images, jax.random.key(2), sigma=0.5, num_samples=50
    )
    self.assertGreater(float(probs[0, 0]), 0.9)


class CertifiedRadiusTest(parameterized.TestCase):
  @parameterized.parameters(0.25, 1.0)
  def test_against_scipy(self, sigma):
    probs = np.random.default_rng(0).dirichlet(np.ones(5), size=200)
    labels = np.random.default_rng(1).integers(0, 5, 200)
    squeezed = 0.998 * probs + 0.001
    ordered = np.sort(squeezed, axis=1)
    correct = probs.argmax(axis=1) == labels
    expected = np.where(
      correct,
      0.5 * sigma * (stats.norm.ppf(ordered[:, -1]) - stats.norm.ppf(ordered[:, -2])),
      0.0,
    )
    radius = smoothing.certified_radius(
      jnp.asarray(probs, jnp.float32), jnp.asarray(labels), sigma=sigma
    )
    np.testing.assert_allclose(radius, expected, rtol=1e-4, atol=1e-5)
    acr = smoothing.average_certified_radius(
      jnp.asarray(probs, jnp.float32), jnp.asarray(labels), sigma=sigma
    )
    np.testing.assert_allclose(acr, expected.mean(), rtol=1e-4)

  @parameterized.parameters(0.25, 0.5)
  def test_linear_classifier_has_exact_radius(self, sigma):
    """With the exact probabilities the radius is the distance |w.x + b| / |w|."""
    margin = jnp.array([-0.4, -0.1, 0.05, 0.3])
    p_one = norm.cdf(margin / (5.0 * sigma))
    radius = smoothing.certified_radius(
      jnp.stack([1 - p_one, p_one], axis=-1),
      (margin > 0).astype(jnp.int32),
      sigma=sigma,
      margin=0.0,
    )
    np.testing.assert_allclose(radius, np.abs(margin) / 5.0, rtol=1e-4)

  def test_ties_and_wrong_points_count_zero(self):
    probs = jnp.array([[0.5, 0.5, 0.0], [0.2, 0.7, 0.1]])
    radius = smoothing.certified_radius(probs, jnp.array([0, 0]), sigma=1.0)
    np.testing.assert_array_equal(radius, 0.0)

  @parameterized.named_parameters(
    ("certain", [1.0, 0.0, 0.0]),
    ("certainly_wrong", [0.0, 1.0, 0.0]),
    ("tie", [0.5, 0.5, 0.0]),
    ("tie_of_others", [0.6, 0.2, 0.2]),
  )
  def test_gradient_is_finite(self, probs):
    gradient = jax.grad(
      lambda p: smoothing.average_certified_radius(p, jnp.array([0]), sigma=0.25)
    )(jnp.array([probs]))
    self.assertTrue(np.all(np.isfinite(gradient)))

  @parameterized.parameters(1.0, 1e3, 1e6)
  @pytest.mark.long
  def test_gradient_through_saturated_logits_is_finite(self, scale):
    def acr(params):
      probs = smoothing.soft_smoothed_probs(
        _linear,
        jax.tree.map(lambda leaf: leaf * scale, params),
        jnp.full((4, 2, 1, 1), 0.9),
        jax.random.key(0),
        sigma=0.25,
        num_samples=8,
      )
      return smoothing.average_certified_radius(probs, jnp.ones(4, jnp.int32), sigma=0.25)

    for leaf in jax.tree.leaves(jax.grad(acr)(_PARAMS)):
      self.assertTrue(np.all(np.isfinite(leaf)))

  def test_gradient_matches_finite_differences(self):
    probs = jnp.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]])
    labels = jnp.array([0, 1])
    with jax.enable_x64(True):
      jax.test_util.check_grads(
        lambda p: smoothing.average_certified_radius(p, labels, sigma=0.25),
        (jnp.asarray(probs, jnp.float64),),
        order=2,
        modes=("rev",),
        atol=1e-6,
        rtol=1e-6,
      )


class NormalQuantileTest(parameterized.TestCase):
  @parameterized.parameters(-1e-3, -0.5, -5.0, -20.0, -60.0, -79.0)
  def test_is_scipys_with_its_derivatives(self, log_p):
    """d Phi^-1(e^l) / dl = r = e^l / phi(q), and the next is r (1 + q r)."""
    q = stats.norm.ppf(np.exp(np.float64(log_p)))
    slope = np.exp(log_p - stats.norm.logpdf(q))
    value, first = jax.value_and_grad(smoothing.normal_quantile)(log_p)
    second = jax.grad(jax.grad(smoothing.normal_quantile))(log_p)
    np.testing.assert_allclose(value, q, rtol=2e-5)
    # In the tail two logarithms of about -60 are subtracted in float32.
    np.testing.assert_allclose(first, slope, rtol=2e-4)
    np.testing.assert_allclose(second, slope * (1.0 + q * slope), rtol=0.1, atol=1e-4)

  @parameterized.parameters(-80.5, -1e4, -jnp.inf)
  def test_ends_where_float32_does(self, log_p):
    value, gradient = jax.value_and_grad(smoothing.normal_quantile)(log_p)
    np.testing.assert_allclose(value, stats.norm.ppf(np.exp(-80.0)), rtol=1e-5)
    self.assertEqual(float(gradient), 0.0)


class SoftMarginTest(parameterized.TestCase):
  @parameterized.parameters(1, 5)
  def test_is_the_radius_over_half_sigma(self, k):
    logits = jax.random.normal(jax.random.key(0), (k, 40, 4))
    labels = jnp.arange(40) % 4
    xi = smoothing.soft_margin(logits, labels, inverse_temperature=2.0)
    probs = jax.nn.softmax(2.0 * logits).mean(axis=0)
    radius = smoothing.certified_radius(probs, labels, sigma=0.5, margin=0.0)
    np.testing.assert_allclose(0.25 * xi, radius, atol=1e-5)
    self.assertBetween(int((xi > 0).sum()), 5, 35)

  @parameterized.parameters(5.0, 12.0, 25.0)
  def test_nothing_is_lost_where_the_probability_rounds_to_one(self, ahead):
    """Three classes, the others equal: 1 - z_y = 2 z_c."""
    logits = jnp.array([[[ahead, 0.0, 0.0]]])
    other = -np.logaddexp(ahead, np.log(2.0))
    expected = stats.norm.isf(2.0 * np.exp(other)) - stats.norm.ppf(np.exp(other))
    xi = smoothing.soft_margin(logits, jnp.array([0]), inverse_temperature=1.0)
    np.testing.assert_allclose(xi, [expected], rtol=1e-5)


if __name__ == "__main__":
  absltest.main()
