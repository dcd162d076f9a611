"""Losses on certified margins, and the attacker's objective."""

import functools

import jax
import jax.numpy as jnp
import long
import numpy as np
import pytest
import random_networks
from absl.testing import absltest, parameterized
from jax.flatten_util import ravel_pytree

from pacd_jax import errors, types
from pacd_jax.attacks import objectives
from pacd_jax.bounds import interval, layers, margins, training

_LABELS = jnp.array([0, 1, 2])
_IMAGES = random_networks.images(0, 3)
_NETWORK = random_networks.network("dense", 0)
_MODEL = types.Model(
  lambda key, shape: _NETWORK, layers.apply, describe=lambda params: params
)
_EPSILON = 0.02


@functools.partial(jax.jit, static_argnames="method")
def _margins(method, epsilon):
  ball = interval.Ball(_IMAGES, epsilon)
  return margins.bounds(_NETWORK, ball, _LABELS, method=method)


def _cross_entropy(logits):
  log_probs = jax.nn.log_softmax(logits)
  return -jnp.take_along_axis(log_probs, _LABELS[:, None], axis=1).mean()


class BoundLossesTest(parameterized.TestCase):
  @parameterized.parameters(0.0, 0.25, 1.0)
  def test_ibp_is_its_formula_along_the_ramp(self, strength):
    loss = training.ibp(_MODEL, epsilon=_EPSILON, kappa=0.4)
    found, aux = loss(_NETWORK, _IMAGES, _LABELS, jax.random.key(0), strength)
    weight = 1.0 - 0.6 * strength
    bounds = _margins("ibp", strength * _EPSILON).ibp
    clean = _cross_entropy(layers.apply(_NETWORK, _IMAGES))
    expected = weight * clean + (1.0 - weight) * _cross_entropy(-bounds)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    is_verified = margins.smallest(bounds, _LABELS) > 0.0
    np.testing.assert_allclose(aux["verified"], is_verified.mean())

  @parameterized.parameters((0.25, 0.5), (1.0, 0.5), (1.0, 0.0))
  @long.after(1)
  @pytest.mark.long
  def test_crown_ibp_is_its_formula_along_the_ramp(self, strength, beta):
    loss = training.crown_ibp(_MODEL, epsilon=_EPSILON, kappa=0.0, beta=beta)
    given = _NETWORK, _IMAGES, _LABELS, jax.random.key(0)
    found, _ = jax.jit(lambda *given: loss(*given, strength))(*given)
    share = 1.0 - strength * (1.0 - beta)
    bounds = _margins("crown_ibp", strength * _EPSILON)
    mixed = share * bounds.crown + (1.0 - share) * bounds.ibp
    clean = _cross_entropy(layers.apply(_NETWORK, _IMAGES))
    expected = (1.0 - strength) * clean + strength * _cross_entropy(-mixed)
    np.testing.assert_allclose(found, expected, rtol=1e-5)

  @pytest.mark.long
  def test_the_worst_case_is_over_the_loss_of_points_in_the_ball(self):
    """With kappa 0 it bounds the cross-entropy of every point."""
    value = training.ibp(_MODEL, epsilon=_EPSILON, kappa=0.0)(
      _NETWORK, _IMAGES, _LABELS, jax.random.key(0)
    )[0]
    for seed in range(20):
      points = jnp.concatenate(
        [
          random_networks.points(
            jax.random.key(3 * seed + i), _IMAGES[i], _EPSILON, "linf", 1
          )
          for i in range(3)
        ]
      )
      self.assertLess(_cross_entropy(layers.apply(_NETWORK, points)), value + 1e-5)

  @parameterized.parameters(training.ibp, training.crown_ibp)
  @long.after(1)
  def test_gradients_are_finite_differences(self, make):
    """In float64, along a random direction, between kinks."""
    with jax.enable_x64(True):
      network = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), _NETWORK)
      images, strength = jnp.asarray(_IMAGES, jnp.float64), 0.5
      loss = make(_MODEL, epsilon=_EPSILON)
      flat, unravel = ravel_pytree(network)
      direction = np.random.default_rng(0).normal(size=flat.shape) / len(flat) ** 0.5

      def value(size):
        params = unravel(flat + size * direction)
        return loss(params, images, _LABELS, jax.random.key(0), strength)[0]

      value = jax.jit(value)
      slope = jax.grad(value)(0.0)
      difference = (value(1e-6) - value(-1e-6)) / 2e-6
      np.testing.assert_allclose(slope, difference, rtol=1e-5)

  def test_what_the_attack_differentiates_has_derivatives_of_its_images_alone(self):
    """`problem.attacked` linearises the adversary: labels are whole numbers again."""
    loss = training.ibp(_MODEL, epsilon=_EPSILON)

    def inputs(images):
      return loss.adversary(_NETWORK, images, _LABELS, jax.random.key(0), 0.5)

    made, push = jax.linearize(inputs, _IMAGES)
    moved = jax.tree.map(jnp.add, made, push(0.1 * jnp.ones_like(_IMAGES)))
    images, labels, strength = moved
    np.testing.assert_allclose(images, _IMAGES + 0.1)
    np.testing.assert_array_equal(labels, _LABELS)
    self.assertEqual(strength, 0.5)

  def test_objective_is_the_mean_of_smallest_margins(self):
    found = {
      shape: float(
        objectives.certified_margin(_MODEL, epsilon=_EPSILON, shape=shape)(
          _NETWORK, _IMAGES, _LABELS, jax.random.key(0)
        )
      )
      for shape in objectives.SHAPES
    }
    bounds = np.asarray(_margins("ibp", _EPSILON).ibp)
    smallest = np.array([np.delete(row, y).min() for y, row in enumerate(bounds)])
    self.assertAlmostEqual(found["margin"], smallest.mean(), places=5)
    self.assertAlmostEqual(found["hinge"], np.maximum(smallest, 0).mean(), places=5)
    expected = np.log1p(np.exp(smallest)).mean()
    self.assertAlmostEqual(found["softplus"], expected, places=5)
    expected = (1.0 / (1.0 + np.exp(-smallest))).mean()
    self.assertAlmostEqual(found["sigmoid"], expected, places=5)

  def test_refuses_what_has_no_bounds_and_settings_out_of_range(self):
    bare = types.Model(_MODEL.init, _MODEL.apply, undescribed="it has group norm")
    for make in (training.ibp, training.crown_ibp, objectives.certified_margin):
      with self.assertRaisesRegex(errors.InputError, "no bounds: it has group norm"):
        make(bare, epsilon=0.1)
    for options in ({"epsilon": 0.0}, {"kappa": 1.5}, {"norm": "l1"}):
      with self.assertRaisesRegex(ValueError, "loss ibp has"):
        training.ibp(_MODEL, **{"epsilon": 0.1, **options})
    with self.assertRaisesRegex(ValueError, "beta 2.0"):
      training.crown_ibp(_MODEL, epsilon=0.1, beta=2.0)


if __name__ == "__main__":
  absltest.main()
