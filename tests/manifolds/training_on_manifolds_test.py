"""Losses on manifolds: what they become in the limits, and their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import evasion, losses
from pacd_jax.data import arrays
from pacd_jax.manifolds import manifold, pca, training

_STORED = np.random.default_rng(0).integers(0, 256, (20, 3, 3, 1), np.uint8)
_X, _Y = jnp.asarray(arrays.to_float(_STORED[:6])), jnp.array([0, 1, 2, 2, 1, 0])
_PARAMS = jax.random.normal(jax.random.key(1), (9, 3))
_WHOLE = pca.fit(_STORED, latent_dimension=9)  # G(E(x)) = x.
_G = pca.fit(_STORED, latent_dimension=3)
_PGD = evasion.Pgd(0.1, "linf", 2)
_LATENT = evasion.Pgd(0.5, "linf", 2)
_NONE = evasion.Pgd(0.0, "linf", 1)


def _apply(params, images):
  return images.reshape(len(images), -1) @ params


def _dual(weight, on=_LATENT, g=_G):
  return training.dual_manifold(
    _apply, g, attack=_PGD, on_manifold_attack=on, weight=weight
  )


def _value_and_gradient(loss, key=None):
  def value(params):
    return loss(params, _X, _Y, jax.random.key(5) if key is None else key)[0]

  return jax.value_and_grad(value)(_PARAMS)


def _assert_same(found, expected):
  for one, other in zip(found, expected, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


class OnManifoldTest(parameterized.TestCase):
  def test_at_radius_zero_it_is_standard_training_on_projections(self):
    loss = training.on_manifold(_apply, _G, attack=_NONE)
    inputs = loss.adversary(_PARAMS, _X, _Y, jax.random.key(2), 1.0)
    np.testing.assert_allclose(inputs, manifold.project(_G, _X), atol=1e-6)
    self.assertGreater(float(jnp.abs(inputs - _X).max()), 0.05)

  def test_and_standard_training_where_projections_are_exact(self):
    loss = training.on_manifold(_apply, _WHOLE, attack=_NONE)
    expected = _value_and_gradient(losses.standard(_apply))
    _assert_same(_value_and_gradient(loss), expected)

  def test_its_images_are_worse_and_on_the_manifold(self):
    loss = training.on_manifold(_apply, _G, attack=_LATENT)
    inputs = loss.adversary(_PARAMS, _X, _Y, jax.random.key(2), 1.0)
    np.testing.assert_allclose(manifold.project(_G, inputs), inputs, atol=1e-5)
    moves = _G.encode(inputs) - _G.encode(_X)
    np.testing.assert_allclose(np.abs(moves).max(axis=1), 0.5, atol=1e-4)
    standard = losses.standard(_apply)
    before, _ = standard(_PARAMS, manifold.project(_G, _X), _Y, jax.random.key(0))
    self.assertGreater(float(loss(_PARAMS, _X, _Y, jax.random.key(2))[0]), float(before))

  def test_a_poison_is_seen_through_the_projection(self):
    """Moves are constant: the derivative in the images is that of G(E(x))."""
    loss = training.on_manifold(_apply, _G, attack=_LATENT)
    tangent = jax.random.normal(jax.random.key(4), _X.shape)

    def inputs(images):
      return loss.adversary(_PARAMS, images, _Y, jax.random.key(2), 1.0)

    pushed = jax.jvp(inputs, (_X,), (tangent,))[1]
    linear = manifold.project(_G, tangent) - manifold.project(_G, jnp.zeros_like(_X))
    np.testing.assert_allclose(pushed, linear, atol=1e-5)

  @parameterized.parameters(-0.5, float("nan"))
  def test_refuses_a_radius_below_zero(self, radius):
    with self.assertRaisesRegex(ValueError, "use a radius of at least 0"):
      training.on_manifold(_apply, _G, attack=_LATENT._replace(epsilon=radius))


class DualManifoldTest(parameterized.TestCase):
  @parameterized.parameters(True, False)
  def test_without_its_second_term_it_is_adversarial_training(self, of_each):
    key = jax.random.key(5)
    if of_each:  # One for each image, as fixed noise has it.
      key = jax.random.split(key, len(_X))
    expected = _value_and_gradient(losses.adversarial(_apply, attack=_PGD), key)
    _assert_same(_value_and_gradient(_dual(0.0), jax.random.clone(key)), expected)

  @parameterized.parameters(1.0, 0.3)
  def test_without_moves_and_exact_it_adds_the_clean_loss(self, weight):
    adversarial = _value_and_gradient(losses.adversarial(_apply, attack=_PGD))
    standard = _value_and_gradient(losses.standard(_apply))
    expected = [a + weight * s for a, s in zip(adversarial, standard, strict=True)]
    _assert_same(_value_and_gradient(_dual(weight, _NONE, _WHOLE)), expected)

  def test_it_is_the_sum_at_both_kinds_of_images(self):
    loss, standard = _dual(0.7), losses.standard(_apply)
    off, on = loss.adversary(_PARAMS, _X, _Y, jax.random.key(5), 1.0)
    self.assertLessEqual(float(jnp.abs(off - _X).max()), 0.1 + 1e-6)
    np.testing.assert_allclose(manifold.project(_G, on), on, atol=1e-5)
    parts = [
      jax.value_and_grad(lambda p, x=x: standard(p, x, _Y, jax.random.key(0))[0])(_PARAMS)
      for x in (off, on)
    ]
    expected = [a + 0.7 * b for a, b in zip(*parts, strict=True)]
    _assert_same(_value_and_gradient(loss), expected)
    _, aux = loss(_PARAMS, _X, _Y, jax.random.key(5))
    for name, images in (("accuracy", off), ("on_manifold_accuracy", on)):
      right = np.asarray(_apply(_PARAMS, images)).argmax(1) == np.asarray(_Y)
      self.assertAlmostEqual(float(aux[name]), right.mean(), places=6)

  def test_refuses_arguments_out_of_range(self):
    with self.assertRaisesRegex(ValueError, "dual_manifold has weight -1.0: use at least"):
      _dual(-1.0)
    with self.assertRaisesRegex(ValueError, "0 steps"):
      _dual(1.0, _LATENT._replace(num_steps=0))


if __name__ == "__main__":
  absltest.main()
