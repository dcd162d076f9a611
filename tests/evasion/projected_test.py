"""PGD where its answer is known: the ball, the box, and a linear objective."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import evasion

_IMAGES = jax.random.uniform(jax.random.key(0), (5, 4, 4, 1))
_TARGET = jax.random.normal(jax.random.key(1), (5, 4, 4, 1))


def _sizes(delta, norm):
  flat = np.abs(np.asarray(delta, np.float64)).reshape(len(delta), -1)
  return flat.max(axis=1) if norm == "linf" else np.sqrt((flat**2).sum(axis=1))


class PgdTest(parameterized.TestCase):
  @parameterized.product(
    norm=("l2", "linf"), ascent=(evasion.normalized, evasion.adam), epsilon=(0.05, 0.5, 5.0)
  )
  def test_stays_in_the_ball_and_the_box(self, norm, ascent, epsilon):
    attack = evasion.Pgd(epsilon, norm, 4, ascent)
    delta = evasion.pgd(attack, lambda x: jnp.sum(_TARGET * x), _IMAGES)
    self.assertLessEqual(_sizes(delta, norm).max(), epsilon * (1 + 1e-6))
    self.assertBetween(np.asarray(_IMAGES + delta).min(), -1e-6, 1.0)
    self.assertLessEqual(np.asarray(_IMAGES + delta).max(), 1.0 + 1e-6)
    self.assertGreater(float(jnp.sum(_TARGET * delta)), 0.0)

  @parameterized.parameters("l2", "linf")
  def test_reaches_the_maximum_of_a_linear_function(self, norm):
    """Away from the box it is epsilon times the dual norm of the gradient."""
    images = jnp.full((5, 4, 4, 1), 0.5)
    attack = evasion.Pgd(0.1, norm, 3)
    delta = evasion.pgd(attack, lambda x: jnp.sum(_TARGET * x), images)
    reached = np.asarray(_TARGET * delta).reshape(5, -1).sum(axis=1)
    flat = np.asarray(_TARGET).reshape(5, -1)
    dual = np.linalg.norm(flat, ord=2 if norm == "l2" else 1, axis=1)
    np.testing.assert_allclose(reached, 0.1 * dual, rtol=1e-5)

  def test_l2_projection_is_exact(self):
    """Steps of 2 epsilon / 1 leave the ball; what comes back is on its surface."""
    images = jnp.full((5, 4, 4, 1), 0.5)
    attack = evasion.Pgd(0.3, "l2", 1)
    delta = evasion.pgd(attack, lambda x: jnp.sum(_TARGET * x), images)
    np.testing.assert_allclose(_sizes(delta, "l2"), 0.3, rtol=1e-6)
    direction = np.asarray(_TARGET) / _sizes(_TARGET, "l2")[:, None, None, None]
    np.testing.assert_allclose(delta, 0.3 * direction, rtol=1e-5)

  @parameterized.parameters(evasion.normalized, evasion.adam)
  def test_a_gradient_of_zero_moves_nothing(self, ascent):
    attack = evasion.Pgd(0.3, "l2", 2, ascent)
    delta = evasion.pgd(attack, lambda x: 0.0 * jnp.sum(x), _IMAGES)
    np.testing.assert_array_equal(delta, 0.0)

  def test_adam_takes_steps_of_its_rate(self):
    """Adam's first step is the rate along the gradient's sign, whatever its size."""
    images = jnp.full((5, 4, 4, 1), 0.5)
    attack = evasion.Pgd(0.02, "linf", 1, evasion.adam)
    delta = evasion.pgd(attack, lambda x: 1e3 * jnp.sum(_TARGET * x), images)
    np.testing.assert_allclose(delta, 0.02 * np.sign(_TARGET), rtol=1e-5)

  def test_two_steps_of_adam(self):
    """The authors' variant, transcribed: moments, bias, projection after every step."""
    images = np.full((5, 4, 4, 1), 0.5)
    target = np.asarray(_TARGET, np.float64)
    attack = evasion.Pgd(0.5, "l2", 2, evasion.adam)

    def objective(x):  # Curved, so that the second gradient is another.
      return jnp.sum(_TARGET * x - 2.0 * (x - 0.5) ** 2)

    delta, m, v = np.zeros_like(images), 0.0, 0.0
    for t in (1, 2):
      g = target - 4.0 * delta
      m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
      step = 0.5 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
      delta = np.clip(images + delta + step, 0.0, 1.0) - images
      sizes = np.sqrt((delta**2).sum(axis=(1, 2, 3), keepdims=True))
      delta *= np.minimum(1.0, 0.5 / sizes)
    found = evasion.pgd(attack, objective, jnp.asarray(images, jnp.float32))
    np.testing.assert_allclose(found, delta, atol=1e-5)

  def test_confident_images_are_attacked_too(self):
    """Gradients far under the square root of float32's range."""
    attack = evasion.Pgd(0.1, "l2", 2)
    delta = evasion.pgd(attack, lambda x: 1e-25 * jnp.sum(_TARGET * x), _IMAGES)
    self.assertGreater(_sizes(delta, "l2").min(), 0.09)

  def test_no_derivative_passes(self):
    def attacked(images, weight):
      weight = jax.lax.stop_gradient(weight)
      attack = evasion.Pgd(0.1)
      return evasion.pgd(attack, lambda x: jnp.sum(weight * x), images)

    _, tangent = jax.jvp(
      attacked, (_IMAGES, _TARGET), (jnp.ones_like(_IMAGES), jnp.ones_like(_TARGET))
    )
    np.testing.assert_array_equal(tangent, 0.0)


class StartTest(parameterized.TestCase):
  @parameterized.parameters("l2", "linf")
  def test_uniform_in_the_ball(self, norm):
    """The radius over epsilon has the law of U^(1/d)."""
    images, attack = jnp.zeros((4000, 2, 2, 1)), evasion.Pgd(0.3, norm)
    sizes = _sizes(evasion.uniform_in_ball(attack, jax.random.key(2), images), norm) / 0.3
    self.assertLessEqual(sizes.max(), 1.0 + 1e-6)
    # The standard error of a share of 4,000 is at most 0.008.
    for radius in (0.5, 0.8, 0.95):
      np.testing.assert_allclose((sizes < radius).mean(), radius**4, atol=0.03)

  @pytest.mark.long
  def test_a_key_for_each_image(self):
    attack, keys = evasion.Pgd(0.3), jax.random.split(jax.random.key(3), 5)
    all_of_them = evasion.uniform_in_ball(attack, keys, _IMAGES)
    some = evasion.uniform_in_ball(attack, jax.random.clone(keys)[2:4], _IMAGES[2:4])
    np.testing.assert_array_equal(all_of_them[2:4], some)


if __name__ == "__main__":
  absltest.main()
