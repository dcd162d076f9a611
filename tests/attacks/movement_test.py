"""The rules of a perturbation's steps against their formulas, and its shapes."""

import jax.numpy as jnp
import numpy as np
import optax
import small_attack as small
from absl.testing import absltest, parameterized

from pacd_jax import perturbation
from pacd_jax.attacks import movement, step_rules

_RNG = np.random.default_rng(0)
_BASE = jnp.asarray(_RNG.uniform(0.2, 0.8, (5, 6, 6, 1)), jnp.float32)
_ROWS = jnp.array([3, 1])


def _du():
  return jnp.asarray(_RNG.normal(size=(2, 6, 6, 1)), jnp.float32)


def _settings(**options):
  return small.settings(**(dict(epsilon=10.0, step_size=lambda step: 0.01) | options))


def _move(settings, times, number=0):
  """Deltas after each of some moves, and the hypergradients given."""
  delta, memory = jnp.zeros_like(_BASE), movement.init(settings, _BASE)
  deltas, given = [], []
  for _ in range(times):
    du = _du()
    delta, memory = movement.move(settings, number, memory, delta, _BASE, _ROWS, du)
    deltas.append(delta)
    given.append(du)
  return deltas, given


_RULES = [(step_rules.SIGN,), (step_rules.NORMALIZED,), (step_rules.ADAM,)]


class RuleTest(parameterized.TestCase):
  def test_adam_is_optax(self):
    settings = _settings(step_rule=step_rules.ADAM, momentum=0.9)
    deltas, given = _move(settings, 4)
    adam = optax.adam(0.01, b1=0.9, b2=0.999, eps=1e-8)
    expected, state = jnp.zeros((2, 6, 6, 1)), adam.init(jnp.zeros((2, 6, 6, 1)))
    for delta, du in zip(deltas, given, strict=True):
      updates, state = adam.update(du, state)
      expected = expected + updates
      np.testing.assert_allclose(delta[_ROWS], expected, rtol=2e-4, atol=1e-6)
      np.testing.assert_array_equal(delta[jnp.array([0, 2, 4])], 0.0)

  def test_moments_of_places_are_means_over_the_images_there(self):
    """One optimiser for the batch's variable, to which each batch's images are assigned."""
    settings = _settings(
      step_rule=step_rules.ADAM_OF_PLACES, momentum=0.9, poison_batch=2, epsilon=0.5
    )
    delta, memory = jnp.zeros_like(_BASE), movement.init(settings, _BASE)
    adam, variable = optax.adam(0.01, b1=0.9, b2=0.999), jnp.zeros((2, 6, 6, 1))
    state, expected = adam.init(variable), np.zeros(_BASE.shape, np.float32)
    for rows in ([3, 1], [0, 3], [1, 4]):
      du = _du()
      delta, memory = movement.move(settings, 0, memory, delta, _BASE, jnp.array(rows), du)
      updates, state = adam.update(du, state)
      expected[rows] += updates
      np.testing.assert_allclose(delta, expected, rtol=2e-4, atol=1e-6)
    self.assertEqual(memory.first.shape, (2, 6, 6, 1))

  @parameterized.parameters("linf", "l2")
  def test_normalized_steps_go_along_the_gradient(self, norm):
    (delta,), (du,) = _move(_settings(step_rule=step_rules.NORMALIZED, norm=norm), 1)
    for moved, gradient in zip(delta[_ROWS], du, strict=True):
      size = jnp.abs(gradient).max() if norm == "linf" else jnp.linalg.norm(gradient)
      np.testing.assert_allclose(moved, -0.01 * gradient / size, rtol=1e-4, atol=1e-7)

  def test_sign_steps_are_the_steepest(self):
    (delta,), (du,) = _move(_settings(), 1)
    np.testing.assert_allclose(delta[_ROWS], -0.01 * np.sign(du), atol=1e-7)


class ZeroMeanTest(parameterized.TestCase):
  @parameterized.parameters((step_rules.SIGN,), (step_rules.NORMALIZED,))
  def test_the_mean_of_the_class_stays(self, rule):
    base = jnp.asarray(_RNG.uniform(0.0, 1.0, (40, 6, 6, 1)), jnp.float32)
    settings = _settings(step_rule=rule, epsilon=0.1, zero_mean=True)
    delta, memory = jnp.zeros_like(base), movement.init(settings, base)
    pull = jnp.asarray(_RNG.normal(size=(1, 6, 6, 1)), jnp.float32)  # All images share it.
    rows = jnp.arange(20)
    for _ in range(30):
      du = pull + jnp.asarray(_RNG.normal(size=(20, 6, 6, 1)), jnp.float32)
      delta, memory = movement.move(settings, 0, memory, delta, base, rows, du)
      self.assertLess(jnp.abs(delta.mean(axis=0)).max(), 0.005)
    self.assertLessEqual(jnp.abs(delta).max(), 0.1 + 1e-6)
    moved = base + delta
    self.assertTrue((moved > -1e-6).all() and (moved < 1 + 1e-6).all())
    self.assertGreater(jnp.abs(delta).mean(), 0.02)  # It does move, against itself.


class ShapeTest(parameterized.TestCase):
  @parameterized.parameters(
    (step_rules.SIGN,), (step_rules.NORMALIZED,), (step_rules.ADAM,)
  )
  def test_shared_steps_move_all_images_alike(self, rule):
    settings = _settings(step_rule=rule, num_shared_steps=1)
    (delta,), (du,) = _move(settings, 1)
    np.testing.assert_array_equal(delta, np.broadcast_to(delta[:1], delta.shape))
    np.testing.assert_array_equal(np.sign(delta[0]), -np.sign(du.mean(axis=0)))

  @parameterized.parameters(
    (step_rules.SIGN,), (step_rules.NORMALIZED,), (step_rules.ADAM,)
  )
  def test_low_frequency_steps_have_none_above(self, rule):
    settings = _settings(step_rule=rule, num_frequencies=2)
    (delta,), _ = _move(settings, 1)
    np.testing.assert_allclose(
      delta[_ROWS], perturbation.low_pass(delta[_ROWS], 2), atol=1e-7
    )
    self.assertGreater(float(jnp.abs(delta).max()), 0.004)


class CornersTest(absltest.TestCase):
  def test_an_entry_goes_to_the_end_that_it_points_to(self):
    delta = jnp.asarray(_RNG.uniform(-0.1, 0.1, (5, 6, 6, 1)), jnp.float32)
    mean = np.asarray(delta).mean(axis=0, keepdims=True)
    for shared, pointing in ((True, mean), (False, delta)):
      corners = movement.to_corners(_BASE, delta, epsilon=0.1, shared=shared)
      np.testing.assert_allclose(corners, 0.1 * np.sign(pointing), rtol=1e-6)

  def test_where_the_box_leaves_no_room_it_goes_to_the_other(self):
    base = jnp.zeros((3, 1, 4, 1)).at[:, 0, 1].set(1.0).at[0, 0, 2].set(0.1)
    base = base.at[:2, 0, 3].set(0.1)
    delta = jnp.full((3, 1, 4, 1), -0.05).at[:, 0, 1].set(0.05)
    corners = movement.to_corners(base, delta, epsilon=0.1, shared=True)
    # A black pixel and a white one; black in two images of three; in one of three.
    np.testing.assert_allclose(corners[0, 0, :, 0], [0.1, -0.1, 0.1, -0.1], rtol=1e-6)
    own = movement.to_corners(base, delta, epsilon=0.1, shared=False)
    np.testing.assert_allclose(own[0, 0, :, 0], [0.1, -0.1, -0.1, -0.1], rtol=1e-6)
    np.testing.assert_allclose(own[2, 0, :, 0], [0.1, -0.1, 0.1, 0.1], rtol=1e-6)


if __name__ == "__main__":
  absltest.main()
