"""MACER against its formula, in float64 and differentiated by central differences."""

import functools

import formulas
import jax
import jax.numpy as jnp
import long
import numpy as np
from absl.testing import absltest, parameterized
from scipy import special
from scipy.stats import norm

from pacd_jax import losses, noise

_IMAGES, _LABELS, _SIGMA = formulas.IMAGES, formulas.LABELS, formulas.SIGMA
_apply, _params = formulas.apply, formulas.params
_logits64 = formulas.logits64
_of_label = formulas.of_label

_BETA, _GAMMA, _LAMBDA = 3.0, 8.0, 12.0


def _macer(logits, lam=_LAMBDA, gamma=_GAMMA):
  """l_macer of section 3.2 of Mehra et al. (2021), its temperature as in Zhai's code."""
  z = special.softmax(_BETA * logits, axis=-1).mean(axis=0)
  # Phi^-1(z_y): isf of the others' sum is the same, and exact where z_y rounds to 1.
  xi = norm.isf(formulas.others(z).sum(axis=1)) - norm.ppf(formulas.others(z).max(axis=1))
  correct = z.argmax(axis=1) == _LABELS
  hinge = np.where(correct, np.maximum(gamma - xi, 0.0), 0.0)
  return (formulas.smoothed_cross_entropy(logits) + lam * _SIGMA / 2 * hinge).mean()


def _macer64_without(params, eta):
  return _macer(_logits64(params, _IMAGES[None] + _SIGMA * eta), lam=0.0)


def _value_and_gradient(loss):
  """Of the criterion in the logits, compiled whole."""
  return jax.jit(jax.value_and_grad(lambda z, labels: loss.criterion(z, labels)[0]))


class MacerTest(parameterized.TestCase):
  def loss(self, k=4, **options):
    options = dict(gamma=_GAMMA, lam=_LAMBDA, inverse_temperature=_BETA) | options
    return losses.macer(_apply, sigma=_SIGMA, num_noise_samples=k, **options)

  def logits(self, scale, k=4, ahead=2.0):
    """With the label ahead in the first four of six images, another in the others."""
    logits = scale * np.asarray(jax.random.normal(jax.random.key(2), (k, 6, 3)))
    logits[:, np.arange(4), _LABELS[:4]] += ahead * scale
    logits[:, np.arange(4, 6), (_LABELS[4:] + 1) % 3] += ahead * scale
    return logits.astype(np.float32)

  @parameterized.parameters(1, 4, 16)
  def test_is_its_formula_on_noisy_images(self, k):
    params, key = _params(1.5), jax.random.key(3)
    loss = jax.jit(jax.value_and_grad(self.loss(k), has_aux=True))
    (value, aux), gradient = loss(params, _IMAGES, jnp.asarray(_LABELS), key)
    eta = noise.draw(jax.random.key(3), k, _IMAGES)

    def expected(params):
      return _macer(_logits64(params, _IMAGES[None] + _SIGMA * eta))

    formulas.assert_close(value, expected(params))
    robustness = (expected(params) - _macer64_without(params, eta)) / _LAMBDA
    np.testing.assert_allclose(aux["robustness"], robustness, rtol=1e-4)
    formulas.assert_close(gradient, formulas.differences(expected, params))

  @parameterized.parameters(0.1, 1.0, 2.0)
  def test_criterion_at_random_logits(self, scale):
    logits = self.logits(scale)
    value, gradient = _value_and_gradient(self.loss())(logits, _LABELS)
    formulas.assert_close(value, _macer(logits.astype(np.float64)))
    formulas.assert_close(gradient, formulas.differences(_macer, logits))

  @parameterized.parameters(4.0, 10.0, 100.0, 1e4, 1e30)
  @long.after(2)
  def test_criterion_at_saturated_logits(self, scale):
    """z_y rounds to 1, or to 0, in float32 and then in float64."""
    # All copies agree: half of them sure of one class, half of another, would be a tie.
    logits = self.logits(scale, k=2, ahead=6.0)
    evaluate = jax.value_and_grad(
      lambda z: self.loss(2).criterion(z, jnp.asarray(_LABELS))[0]
    )
    if scale < 1e9:  # Compiled, XLA's own exponentials make the gradient NaN from 1e10 on.
      evaluate = jax.jit(evaluate)
    value, gradient = evaluate(jnp.asarray(logits))
    self.assertTrue(np.isfinite(value) and np.isfinite(gradient).all())
    with np.errstate(all="ignore"):
      formulas.assert_close(value, _macer(logits.astype(np.float64)))
      if scale <= 10.0:  # Beyond, a step of 1e-5 is lost in the logits' own rounding.
        formulas.assert_close(gradient, formulas.differences(_macer, logits))

  @parameterized.parameters((6.0, 0.3), (8.0, 0.5), (10.0, 0.5))
  def test_the_hinge_where_probabilities_round_to_one(self, ahead, spread):
    """1 - z_y is lost in float32, and xi is still under a gamma of 20, to 1e-5."""
    logits = spread * np.asarray(jax.random.normal(jax.random.key(2), (2, 6, 3)))
    logits[:, np.arange(6), _LABELS] += ahead
    logits = logits.astype(np.float32)
    loss = self.loss(2, gamma=20.0)
    value, gradient = _value_and_gradient(loss)(logits, _LABELS)
    z = special.softmax(_BETA * logits, axis=-1).mean(axis=0)
    self.assertEqual(_of_label(z).max(), 1.0)
    expected = functools.partial(_macer, gamma=20.0)
    self.assertGreater(expected(logits.astype(np.float64)), 1.0)  # The hinge is active.
    formulas.assert_close(value, expected(logits.astype(np.float64)))
    formulas.assert_close(gradient, formulas.differences(expected, logits))

  @parameterized.parameters(1.0, 10.0, 100.0, 1e4)
  def test_second_derivatives_are_finite(self, scale):
    """Curvature products push tangents through the gradient."""
    logits, labels = jnp.asarray(self.logits(scale)), jnp.asarray(_LABELS)
    gradient = jax.jit(jax.grad(lambda z: self.loss().criterion(z, labels)[0]))
    along = jax.jit(lambda v: jax.jvp(gradient, (logits,), (v,))[1])
    for tangent in (jnp.ones_like(logits), gradient(logits)):
      self.assertTrue(np.isfinite(along(tangent)).all())

  def test_second_derivative_is_that_of_the_formula(self):
    logits, labels = self.logits(1.0, k=2), jnp.asarray(_LABELS)
    v = np.asarray(jax.random.normal(jax.random.key(4), logits.shape), np.float64)
    gradient = jax.grad(lambda z: self.loss(2).criterion(z, labels)[0])
    along = jax.jit(lambda z, v: jax.jvp(gradient, (z,), (v,))[1])
    product = along(logits, v.astype(np.float32))

    def directional(z, step=1e-4):
      return (_macer(z + step * v) - _macer(z - step * v)) / (2 * step)

    # Differences of differences are good to about 1e-4 here.
    expected = formulas.differences(directional, logits, step=1e-4)
    np.testing.assert_allclose(product, expected, atol=1e-3 * np.abs(expected).max())

  def test_hinge(self):
    """Beyond gamma nothing is gained; a wrong image has no robustness loss."""
    labels = jnp.array([0, 0, 0])
    logits = jnp.array([[[9.0, 0.0], [0.5, 0.0], [0.0, 0.5]]])
    loss = self.loss(1, gamma=2.0, lam=1.0)
    robustness = loss.criterion(logits, labels)[1]["robustness"]
    p = special.expit(_BETA * 0.5)
    expected = _SIGMA / 2 * (2.0 - 2.0 * norm.ppf(p)) / 3
    np.testing.assert_allclose(robustness, expected, rtol=1e-5)

  def test_without_lambda_it_is_smoothed_cross_entropy(self):
    logits = self.logits(1.0)
    value, aux = self.loss(lam=0.0).criterion(jnp.asarray(logits), jnp.asarray(_LABELS))
    formulas.assert_close(
      value, formulas.smoothed_cross_entropy(logits.astype(np.float64)).mean()
    )
    probs = special.softmax(logits, axis=-1).mean(axis=0)
    np.testing.assert_allclose(aux["accuracy"], (probs.argmax(1) == _LABELS).mean())


if __name__ == "__main__":
  absltest.main()
