"""Losses against SciPy, and their cut into outputs and criterion."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from scipy import special

from pacd_jax import evasion, losses, types
from pacd_jax.bounds import layers
from pacd_jax.experiment import entries as _entries  # noqa: F401  Fills the registries.
from pacd_jax.experiment import kinds
from pacd_jax.manifolds import pca


def _apply(params, images):
  return images.reshape(images.shape[0], -1) @ params


_IMAGES = jax.random.uniform(jax.random.key(0), (6, 2, 2, 1))
_LABELS = jnp.array([0, 1, 2, 2, 1, 0])
_PGD = evasion.Pgd(epsilon=0.5)
_MANIFOLD = pca.fit(np.asarray(_IMAGES), latent_dimension=2)
_PARAMS = jax.random.normal(jax.random.key(1), (4, 3))
_MODEL = types.Model(
  lambda key, shape: _PARAMS,
  _apply,
  describe=lambda params: (layers.Flatten(), layers.Dense(params, _PARAMS[0])),
)


def _cross_entropy(logits):
  log_probs = special.log_softmax(np.asarray(logits, np.float64), axis=1)
  return -log_probs[np.arange(6), np.asarray(_LABELS)].mean()


class DefaultTypeTest(parameterized.TestCase):
  """A user's JAX may have float64 as its default type."""

  @parameterized.parameters(*kinds.LOSSES.names)
  def test_losses_and_what_they_log_are_float32(self, name):
    entry = kinds.LOSSES[name]
    options = None if entry.options is None else entry.options()
    loss = entry.make(kinds.LossTools(_MODEL, 0.25, _PGD, _MANIFOLD), options)
    given = _PARAMS, _IMAGES, _LABELS, jax.random.key(2)
    with jax.enable_x64(True):
      value, aux = jax.eval_shape(lambda *given: loss(*given), *given)
    self.assertEqual({leaf.dtype for leaf in (value, *aux.values())}, {np.dtype("float32")})

  @parameterized.parameters(*kinds.OBJECTIVES.names)
  def test_objectives_are_float32(self, name):
    entry = kinds.OBJECTIVES[name]
    options = None if entry.options is None else entry.options()
    objective = entry.make(kinds.ObjectiveTools(_MODEL, 0.25, 3, 16.0, _PGD), options)
    with jax.enable_x64(True):
      value = jax.eval_shape(objective, _PARAMS, _IMAGES, _LABELS, jax.random.key(2))
    self.assertEqual(value.dtype, jnp.float32)


class LossesTest(parameterized.TestCase):
  def test_standard_is_cross_entropy(self):
    value, aux = losses.standard(_apply)(_PARAMS, _IMAGES, _LABELS, jax.random.key(2))
    logits = _apply(_PARAMS, _IMAGES)
    np.testing.assert_allclose(value, _cross_entropy(logits), rtol=1e-6)
    expected = (np.asarray(logits).argmax(1) == np.asarray(_LABELS)).mean()
    np.testing.assert_allclose(aux["accuracy"], expected)

  @parameterized.parameters(0.25, 1.0)
  def test_gaussian_is_cross_entropy_at_noisy_images(self, sigma):
    loss = losses.gaussian_augmentation(_apply, sigma=sigma)
    value, _ = loss(_PARAMS, _IMAGES, _LABELS, jax.random.key(3))
    noise = jax.random.normal(jax.random.key(3), _IMAGES.shape)
    logits = _apply(_PARAMS, _IMAGES + sigma * noise)
    np.testing.assert_allclose(value, _cross_entropy(logits), rtol=1e-6)

  def test_gaussian_noise_has_its_standard_deviation(self):
    def reveal(params, images):
      return (images * params).reshape(images.shape[0], -1)

    loss = losses.gaussian_augmentation(reveal, sigma=0.3)
    noisy = loss.outputs(
      jnp.float32(1.0),
      jnp.zeros((500, 8, 8, 1)),
      jax.random.key(4),
    )
    # The standard error of the deviation of 32,000 draws is 0.4 percent.
    np.testing.assert_allclose(noisy.std(), 0.3, rtol=0.02)

  def test_a_key_fixes_the_noise(self):
    loss = losses.gaussian_augmentation(_apply, sigma=0.5)
    one, two, other = (
      float(loss(_PARAMS, _IMAGES, _LABELS, jax.random.key(seed))[0]) for seed in (5, 5, 6)
    )
    self.assertEqual(one, two)
    self.assertNotEqual(one, other)

  @parameterized.parameters(1.0, 1e4)
  def test_gradient_matches_softmax_residual(self, scale):
    """grad of the criterion in the logits is (softmax - one-hot) / B, saturated or not."""
    loss = losses.standard(_apply)
    logits = scale * jax.random.normal(jax.random.key(7), (6, 3))
    gradient = jax.grad(lambda z: loss.criterion(z, _LABELS)[0])(logits)
    expected = special.softmax(np.asarray(logits, np.float64), axis=1)
    expected[np.arange(6), np.asarray(_LABELS)] -= 1.0
    np.testing.assert_allclose(gradient, expected / 6, atol=1e-6)

  @parameterized.parameters(
    (losses.macer, {"lam": -1.0}, "lam -1.0.*use at least 0"),
    (losses.macer, {"gamma": 0.0}, "gamma 0.0"),
    (losses.macer, {"gamma": 21.0}, "gamma 21.0"),
    (losses.macer, {"inverse_temperature": 0.0}, "inverse_temperature 0.0"),
    (losses.macer, {"num_noise_samples": 0}, "num_noise_samples is 0: use at least 1"),
    (losses.smoothadv, {"attack": _PGD, "num_noise_samples": 0}, "num_noise_samples is 0"),
    (losses.smoothadv, {"attack": _PGD._replace(num_steps=0)}, "0 steps: use a radius"),
    (losses.smoothadv, {"attack": _PGD._replace(epsilon=0.0)}, "epsilon 0.0"),
  )
  def test_refuses_arguments_out_of_range(self, make, arguments, message):
    with self.assertRaisesRegex(ValueError, message):
      make(_apply, sigma=0.25, **arguments)

  @parameterized.parameters(losses.adversarial, losses.trades)
  def test_refuses_a_pgd_without_steps(self, make):
    with self.assertRaisesRegex(ValueError, "0 steps: use a radius above 0"):
      make(_apply, attack=_PGD._replace(num_steps=0))

  def test_refuses_a_negative_weight(self):
    with self.assertRaisesRegex(ValueError, "trades has weight -1.0: use at least 0"):
      losses.trades(_apply, attack=_PGD, weight=-1.0)


if __name__ == "__main__":
  absltest.main()
