"""MACER, SmoothAdv, adversarial training and TRADES against their papers' formulas.

The formulas are transcribed in float64 NumPy and SciPy, and differentiated by central
differences; a linear classifier gives the logits.
"""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from scipy import special
from scipy.stats import norm

from pacd_jax import evasion, losses, noise

_SIGMA, _BETA, _GAMMA, _LAMBDA = 0.5, 3.0, 8.0, 12.0
_IMAGES = jax.random.uniform(jax.random.key(0), (6, 3, 3, 1))
_LABELS = np.array([0, 1, 2, 2, 1, 0])
_SHAPE = (9, 3)  # Of the linear classifier's parameters.


def _apply(params, images):
  return images.reshape(images.shape[0], -1) @ params


def _params(scale):
  return scale * jax.random.normal(jax.random.key(1), _SHAPE)


def _logits64(params, images):
  images = np.asarray(images, np.float64)
  return images.reshape(*images.shape[:-3], -1) @ np.asarray(params, np.float64)


def _of_label(values):
  return np.take_along_axis(values, _LABELS[:, None], axis=-1)[:, 0]


def _others(values):
  """`values` without the label's, `[B, K - 1]`."""
  return np.stack([np.delete(v, y) for v, y in zip(values, _LABELS, strict=True)])


def _differences(function, x, step=1e-5):
  """The gradient of a float64 function by central differences."""
  x = np.asarray(x, np.float64)
  gradient = np.zeros_like(x)
  for at in np.ndindex(x.shape):
    up, down = x.copy(), x.copy()
    up[at] += step
    down[at] -= step
    gradient[at] = (function(up) - function(down)) / (2 * step)
  return gradient


def _smoothed_cross_entropy(logits):
  """-log mean_j softmax(logits_j)_y: `[k, B, K]` -> `[B]`."""
  log_probs = special.log_softmax(logits, axis=-1)
  return -_of_label(special.logsumexp(log_probs, axis=0) - np.log(len(logits)))


def _macer(logits, lam=_LAMBDA):
  """l_macer of section 3.2 of Mehra et al. (2021), its temperature as in Zhai's code."""
  z = special.softmax(_BETA * logits, axis=-1).mean(axis=0)
  # Phi^-1(z_y): isf of the others' sum is the same, and exact where z_y rounds to 1.
  xi = norm.isf(_others(z).sum(axis=1)) - norm.ppf(_others(z).max(axis=1))
  correct = z.argmax(axis=1) == _LABELS
  hinge = np.where(correct, np.maximum(_GAMMA - xi, 0.0), 0.0)
  return (_smoothed_cross_entropy(logits) + lam * _SIGMA / 2 * hinge).mean()


def _assert_close(actual, expected):
  """To 1e-5 of the largest entry."""
  expected = np.asarray(expected)
  np.testing.assert_allclose(
    actual, expected, atol=1e-5 * np.abs(expected).max(), rtol=1e-5
  )


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
    value, aux = self.loss(k)(params, _IMAGES, jnp.asarray(_LABELS), key)
    eta = noise.draw(jax.random.key(3), k, _IMAGES)

    def expected(params):
      return _macer(_logits64(params, _IMAGES[None] + _SIGMA * eta))

    _assert_close(value, expected(params))
    robustness = (expected(params) - _macer64_without(params, eta)) / _LAMBDA
    np.testing.assert_allclose(aux["robustness"], robustness, rtol=1e-4)
    gradient = jax.grad(
      lambda p: self.loss(k)(p, _IMAGES, jnp.asarray(_LABELS), jax.random.key(3))[0]
    )(params)
    _assert_close(gradient, _differences(expected, params))

  @parameterized.parameters(0.1, 1.0, 2.0)
  def test_criterion_at_random_logits(self, scale):
    logits = self.logits(scale)
    value, gradient = jax.value_and_grad(
      lambda z: self.loss().criterion(z, jnp.asarray(_LABELS))[0]
    )(jnp.asarray(logits))
    _assert_close(value, _macer(logits.astype(np.float64)))
    _assert_close(gradient, _differences(_macer, logits))

  @parameterized.parameters(4.0, 10.0, 100.0, 1e4, 1e30)
  def test_criterion_at_saturated_logits(self, scale):
    """z_y rounds to 1, or to 0, in float32 and then in float64."""
    # All copies agree: half of them sure of one class, half of another, would be a tie.
    logits = self.logits(scale, k=2, ahead=6.0)
    loss = self.loss(2)
    value, gradient = jax.value_and_grad(
      lambda z: loss.criterion(z, jnp.asarray(_LABELS))[0]
    )(jnp.asarray(logits))
    self.assertTrue(np.isfinite(value) and np.isfinite(gradient).all())
    with np.errstate(all="ignore"):
      _assert_close(value, _macer(logits.astype(np.float64)))
      if scale <= 10.0:  # Beyond, a step of 1e-5 is lost in the logits' own rounding.
        _assert_close(gradient, _differences(_macer, logits))

  @parameterized.parameters(1.0, 10.0, 100.0, 1e4)
  def test_second_derivatives_are_finite(self, scale):
    """Curvature products push tangents through the gradient."""
    logits, labels = jnp.asarray(self.logits(scale)), jnp.asarray(_LABELS)
    gradient = jax.grad(lambda z: self.loss().criterion(z, labels)[0])
    _, product = jax.jvp(gradient, (logits,), (jnp.ones_like(logits),))
    self.assertTrue(np.isfinite(product).all())
    _, product = jax.jvp(gradient, (logits,), (gradient(logits),))
    self.assertTrue(np.isfinite(product).all())

  def test_second_derivative_is_that_of_the_formula(self):
    logits, labels = self.logits(1.0, k=2), jnp.asarray(_LABELS)
    v = np.asarray(jax.random.normal(jax.random.key(4), logits.shape), np.float64)
    gradient = jax.grad(lambda z: self.loss(2).criterion(z, labels)[0])
    _, product = jax.jvp(gradient, (jnp.asarray(logits),), (jnp.asarray(v, jnp.float32),))

    def directional(z, step=1e-4):
      return (_macer(z + step * v) - _macer(z - step * v)) / (2 * step)

    # Differences of differences are good to about 1e-4 here.
    expected = _differences(directional, logits, step=1e-4)
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
    _assert_close(value, _smoothed_cross_entropy(logits.astype(np.float64)).mean())
    probs = special.softmax(logits, axis=-1).mean(axis=0)
    np.testing.assert_allclose(aux["accuracy"], (probs.argmax(1) == _LABELS).mean())


def _macer64_without(params, eta):
  return _macer(_logits64(params, _IMAGES[None] + _SIGMA * eta), lam=0.0)


class _Pgd64:
  """PGD_L2 of Salman et al.'s code, and Madry's, in float64 with central differences."""

  def __init__(self, epsilon, norm, num_steps):
    self.epsilon, self.norm, self.num_steps = epsilon, norm, num_steps

  def __call__(self, objective, images, start=0.0):
    images = np.asarray(images, np.float64)
    delta = self.inside(images, np.asarray(start) + np.zeros_like(images))
    for _ in range(self.num_steps):
      gradient = _differences(lambda d: objective(images + d).sum(), delta)
      delta = self.inside(images, delta + self.step(gradient))
    return images + delta

  def step(self, gradient):
    size = 2.0 * self.epsilon / self.num_steps
    if self.norm == "linf":
      return size * np.sign(gradient)
    lengths = np.sqrt((gradient**2).sum(axis=(1, 2, 3), keepdims=True))
    return size * gradient / lengths

  def inside(self, images, delta):
    delta = np.clip(images + delta, 0.0, 1.0) - images
    if self.norm == "linf":
      return np.clip(delta, -self.epsilon, self.epsilon)
    lengths = np.sqrt((delta**2).sum(axis=(1, 2, 3), keepdims=True))
    return delta * np.minimum(1.0, self.epsilon / np.maximum(lengths, 1e-300))


class SmoothAdvTest(parameterized.TestCase):
  @parameterized.parameters((1, 2, 0.3), (4, 3, 0.3), (2, 1, 2.0), (1, 2, 1e-3))
  def test_is_its_formula(self, m, num_steps, epsilon):
    params, labels = _params(1.0), jnp.asarray(_LABELS)
    attack = evasion.Pgd(epsilon, "l2", num_steps)
    loss = losses.smoothadv(_apply, sigma=_SIGMA, attack=attack, num_noise_samples=m)
    eta = _SIGMA * np.asarray(noise.draw(jax.random.key(5), m, _IMAGES), np.float64)

    def objective(images, params=params):
      return _smoothed_cross_entropy(_logits64(params, images[None] + eta))

    attacked = _Pgd64(epsilon, "l2", num_steps)(objective, _IMAGES)
    inputs = loss.adversary(params, _IMAGES, labels, jax.random.key(5), 1.0)
    np.testing.assert_allclose(inputs, attacked, atol=1e-5)
    self.assertGreater(float(np.abs(inputs - _IMAGES).max()), 0.1 * epsilon)

    value, gradient = jax.value_and_grad(
      lambda p: loss(p, _IMAGES, labels, jax.random.key(5))[0]
    )(params)
    _assert_close(value, objective(attacked).mean())
    # Danskin: x' is a constant.
    expected = _differences(lambda p: objective(attacked, p).mean(), params)
    _assert_close(gradient, expected)

  @parameterized.parameters(30.0, 1e3)
  def test_saturated_logits(self, scale):
    labels = jnp.asarray(_LABELS)
    attack = evasion.Pgd(0.3, "l2", 2)
    loss = losses.smoothadv(_apply, sigma=_SIGMA, attack=attack, num_noise_samples=2)
    value, gradient = jax.value_and_grad(
      lambda p: loss(p, _IMAGES, labels, jax.random.key(5))[0]
    )(_params(scale))
    inputs = loss.adversary(_params(scale), _IMAGES, labels, jax.random.key(5), 1.0)
    eta = _SIGMA * np.asarray(noise.draw(jax.random.key(5), 2, _IMAGES), np.float64)

    def objective(params):
      noisy = np.asarray(inputs, np.float64)[None] + eta
      return _smoothed_cross_entropy(_logits64(params, noisy)).mean()

    _assert_close(value, objective(_params(scale)))
    _assert_close(gradient, _differences(objective, _params(scale)))

  def test_one_sample_is_gaussian_augmentation_on_attacked_images(self):
    attack, labels = evasion.Pgd(0.3, "l2", 2), jnp.asarray(_LABELS)
    loss = losses.smoothadv(_apply, sigma=_SIGMA, attack=attack)
    gaussian = losses.gaussian_augmentation(_apply, sigma=_SIGMA)
    inputs = loss.adversary(_params(1.0), _IMAGES, labels, jax.random.key(6), 1.0)
    value, aux = loss(_params(1.0), _IMAGES, labels, jax.random.key(6))
    expected = gaussian(_params(1.0), inputs, labels, jax.random.key(6))
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    np.testing.assert_allclose(aux["accuracy"], expected[1]["accuracy"])

  def test_strength_is_a_share_of_the_radius(self):
    whole = losses.smoothadv(_apply, sigma=_SIGMA, attack=evasion.Pgd(0.4))
    half = losses.smoothadv(_apply, sigma=_SIGMA, attack=evasion.Pgd(0.2))
    arguments = _params(1.0), _IMAGES, jnp.asarray(_LABELS), jax.random.key(7)
    some = whole.adversary(*arguments, jnp.float32(0.5))
    arguments = *arguments[:3], jax.random.key(7)
    np.testing.assert_allclose(some, half.adversary(*arguments, 1.0), atol=1e-6)

  def test_noise_of_its_own_for_each_image(self):
    """A key an image: its noise does not depend on its place in the batch."""
    loss = losses.gaussian_augmentation(_apply, sigma=_SIGMA)

    def logits(order):
      keys = noise.of_images(jax.random.key(8), jnp.asarray(order))
      return loss.outputs(_params(1.0), _IMAGES[np.asarray(order)], keys)

    np.testing.assert_allclose(logits([3, 1, 4])[1], logits([1, 5])[0], rtol=1e-6)


class AdversarialTrainingTest(parameterized.TestCase):
  @parameterized.product(norm=("linf", "l2"), scale=(1.0, 100.0))
  def test_adversarial(self, norm, scale):
    """Madry et al.: cross-entropy at PGD's images, from a random start."""
    params, labels = _params(scale), jnp.asarray(_LABELS)
    attack = evasion.Pgd(0.2, norm, 3)
    loss = losses.adversarial(_apply, attack=attack)
    start = evasion.uniform_in_ball(attack, jax.random.key(9), _IMAGES)

    def objective(images, params=params):
      return -_of_label(special.log_softmax(_logits64(params, images), axis=-1))

    inputs = loss.adversary(params, _IMAGES, labels, jax.random.key(9), 1.0)
    if scale == 1.0:
      attacked = _Pgd64(0.2, norm, 3)(objective, _IMAGES, start)
      np.testing.assert_allclose(inputs, attacked, atol=1e-5)
    value, gradient = jax.value_and_grad(
      lambda p: loss(p, _IMAGES, labels, jax.random.key(9))[0]
    )(params)
    _assert_close(value, objective(inputs).mean())
    expected = _differences(lambda p: objective(inputs, p).mean(), params)
    _assert_close(gradient, expected)

  @parameterized.product(norm=("linf", "l2"), scale=(1.0, 100.0))
  def test_trades(self, norm, scale):
    """Zhang et al.: natural cross-entropy, and KL(f(x) | f(x')) that x' maximises."""
    params, labels, weight = _params(scale), jnp.asarray(_LABELS), 6.0
    attack = evasion.Pgd(0.2, norm, 3)
    loss = losses.trades(_apply, attack=attack, weight=weight)
    start = 1e-3 * np.asarray(noise.draw(jax.random.key(9), 1, _IMAGES)[0])

    def divergence(images, params=params):
      log_p = special.log_softmax(_logits64(params, _IMAGES), axis=-1)
      log_q = special.log_softmax(_logits64(params, images), axis=-1)
      return (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)

    def expected(params):
      natural = special.log_softmax(_logits64(params, _IMAGES), axis=-1)
      return (-_of_label(natural) + weight * divergence(inputs, params)).mean()

    natural, inputs = loss.adversary(params, _IMAGES, labels, jax.random.key(9), 1.0)
    np.testing.assert_array_equal(natural, _IMAGES)
    if scale == 1.0:
      attacked = _Pgd64(0.2, norm, 3)(divergence, _IMAGES, start)
      np.testing.assert_allclose(inputs, attacked, atol=1e-4)  # KL is flat at the start.
    value, gradient = jax.value_and_grad(
      lambda p: loss(p, _IMAGES, labels, jax.random.key(9))[0]
    )(params)
    _assert_close(value, expected(params))
    _assert_close(gradient, _differences(expected, params))


if __name__ == "__main__":
  absltest.main()
