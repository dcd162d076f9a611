"""SmoothAdv, adversarial training and TRADES against their papers' formulas.

The formulas are transcribed in float64 NumPy and SciPy, and differentiated by central
differences; a linear classifier gives the logits.
"""

import formulas
import jax
import jax.numpy as jnp
import long
import numpy as np
from absl.testing import absltest, parameterized
from scipy import special

from pacd_jax import evasion, losses, noise

_IMAGES, _LABELS, _SIGMA = formulas.IMAGES, formulas.LABELS, formulas.SIGMA
_apply, _params = formulas.apply, formulas.params
_logits64 = formulas.logits64
_of_label = formulas.of_label


class _Pgd64:
  """PGD_L2 of Salman et al.'s code, and Madry's, in float64 with central differences."""

  def __init__(self, epsilon, norm, num_steps):
    self.epsilon, self.norm, self.num_steps = epsilon, norm, num_steps

  def __call__(self, objective, images, start=0.0):
    images = np.asarray(images, np.float64)
    delta = self.inside(images, np.asarray(start) + np.zeros_like(images))
    for _ in range(self.num_steps):
      gradient = formulas.differences(lambda d: objective(images + d).sum(), delta)
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
  @long.after(2)
  def test_is_its_formula(self, m, num_steps, epsilon):
    params, labels = _params(1.0), jnp.asarray(_LABELS)
    attack = evasion.Pgd(epsilon, "l2", num_steps)
    loss = losses.smoothadv(_apply, sigma=_SIGMA, attack=attack, num_noise_samples=m)
    eta = _SIGMA * np.asarray(noise.draw(jax.random.key(5), m, _IMAGES), np.float64)

    def objective(images, params=params):
      return formulas.smoothed_cross_entropy(_logits64(params, images[None] + eta))

    attacked = _Pgd64(epsilon, "l2", num_steps)(objective, _IMAGES)
    inputs = loss.adversary(params, _IMAGES, labels, jax.random.key(5), 1.0)
    np.testing.assert_allclose(inputs, attacked, atol=1e-5)
    self.assertGreater(float(np.abs(inputs - _IMAGES).max()), 0.1 * epsilon)

    value, gradient = jax.value_and_grad(
      lambda p: loss(p, _IMAGES, labels, jax.random.key(5))[0]
    )(params)
    formulas.assert_close(value, objective(attacked).mean())
    # Danskin: x' is a constant.
    expected = formulas.differences(lambda p: objective(attacked, p).mean(), params)
    formulas.assert_close(gradient, expected)

  @parameterized.parameters(30.0, 1e3)
  def test_saturated_logits(self, scale):
    labels = jnp.asarray(_LABELS)
    attack = evasion.Pgd(0.3, "l2", 2)
    loss = losses.smoothadv(_apply, sigma=_SIGMA, attack=attack, num_noise_samples=2)
    value, gradient = jax.value_and_grad(
      lambda p: loss(p, _IMAGES, labels, jax.random.key(5))[0]
    )(_params(scale))
    inputs = loss.adversary(_params(scale), _IMAGES, labels, jax.random.key(5), 1.0)
    sizes = np.sqrt(np.square(inputs - _IMAGES).sum(axis=(1, 2, 3)))
    if scale == 30.0:  # Sure of every image, and yet they are attacked.
      self.assertGreater(sizes.min(), 0.1)
    eta = _SIGMA * np.asarray(noise.draw(jax.random.key(5), 2, _IMAGES), np.float64)

    def objective(params):
      noisy = np.asarray(inputs, np.float64)[None] + eta
      return formulas.smoothed_cross_entropy(_logits64(params, noisy)).mean()

    formulas.assert_close(value, objective(_params(scale)))
    formulas.assert_close(gradient, formulas.differences(objective, _params(scale)))

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
    arguments = (
      _params(1.0),
      _IMAGES,
      jnp.asarray(_LABELS),
      jax.random.key(7),
    )
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
    formulas.assert_close(value, objective(inputs).mean())
    expected = formulas.differences(lambda p: objective(inputs, p).mean(), params)
    formulas.assert_close(gradient, expected)

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
    formulas.assert_close(value, expected(params))
    formulas.assert_close(gradient, formulas.differences(expected, params))


if __name__ == "__main__":
  absltest.main()
