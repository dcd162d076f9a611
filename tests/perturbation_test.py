"""Budgets: projections, steepest directions, and 8 bits that keep the bound."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from absl.testing import absltest, parameterized

from pacd_jax import perturbation


def _size(delta, norm):
  flat = np.abs(np.asarray(delta, np.float64)).reshape(len(delta), -1)
  return flat.max(axis=1) if norm == "linf" else np.sqrt((flat**2).sum(axis=1))


_DELTA = 0.5 * jax.random.normal(jax.random.key(0), (20, 4, 4, 3))


class ProjectTest(parameterized.TestCase):
  @parameterized.product(norm=perturbation.NORMS, epsilon=(0.05, 0.7))
  def test_is_the_nearest_point_of_the_ball(self, norm, epsilon):
    projected = perturbation.project(_DELTA, epsilon=epsilon, norm=norm)
    self.assertLessEqual(_size(projected, norm).max(), epsilon * (1 + 1e-6))
    again = perturbation.project(projected, epsilon=epsilon, norm=norm)
    np.testing.assert_allclose(again, projected, rtol=1e-6)
    # <delta - projected, v - projected> <= 0 for every v of the (convex) ball.
    others = perturbation.project(_DELTA[::-1], epsilon=epsilon, norm=norm)
    inner = jnp.sum((_DELTA - projected) * (others - projected), axis=(1, 2, 3))
    self.assertLessEqual(float(inner.max()), 1e-5)

  @parameterized.parameters(*perturbation.NORMS)
  def test_keeps_what_is_inside(self, norm):
    inside = 1e-3 * _DELTA
    np.testing.assert_array_equal(
      perturbation.project(inside, epsilon=0.1, norm=norm), inside
    )
    zero = jnp.zeros_like(_DELTA)
    np.testing.assert_array_equal(perturbation.project(zero, epsilon=0.1, norm=norm), 0.0)

  def test_unknown_norm(self):
    with self.assertRaisesRegex(ValueError, "l1"):
      perturbation.project(_DELTA, epsilon=0.1, norm="l1")


class SteepestDirectionTest(parameterized.TestCase):
  @parameterized.named_parameters(("linf", "linf", 1), ("l2", "l2", 2))
  def test_reaches_the_dual_norm(self, norm, dual):
    """max <g, v> over the unit ball is the dual norm of g: l1 for l_inf, l2 for l2."""
    direction = perturbation.steepest_direction(_DELTA, norm=norm)
    np.testing.assert_allclose(_size(direction, norm), 1.0, rtol=1e-5)
    flat = np.asarray(_DELTA).reshape(20, -1)
    expected = np.linalg.norm(flat, ord=dual, axis=1)
    np.testing.assert_allclose(
      jnp.sum(_DELTA * direction, axis=(1, 2, 3)), expected, rtol=1e-5
    )

  @parameterized.parameters(*perturbation.NORMS)
  def test_zero_gradient_moves_nothing(self, norm):
    direction = perturbation.steepest_direction(jnp.zeros_like(_DELTA), norm=norm)
    np.testing.assert_array_equal(direction, 0.0)


class QuantizeTest(parameterized.TestCase):
  @parameterized.product(
    norm=perturbation.NORMS, epsilon=(1 / 255, 0.03, 8 / 255, 0.1, 0.2, 0.5)
  )
  def test_keeps_budget_and_box(self, norm, epsilon):
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (50, 4, 4, 3), np.uint8)
    delta = rng.uniform(-1, 1, base.shape)
    delta = np.asarray(perturbation.project(jnp.asarray(delta), epsilon=epsilon, norm=norm))
    images = np.clip(base / 255.0 + delta, 0, 1)
    rounded = perturbation.quantize(images, base, epsilon=epsilon, norm=norm)
    self.assertEqual(rounded.dtype, np.uint8)
    change = rounded.astype(int) - base
    self.assertLessEqual(_size(change, norm).max(), epsilon * 255)
    # Never further from what was asked than one level.
    self.assertLess(np.abs(rounded - 255.0 * images).max(), 1.0 + 1e-4)

  def test_uses_the_whole_budget(self):
    """25 levels at epsilon 0.1 (25.5), all 8 at 8/255; k/255 is k levels for every k."""
    base = np.full((1, 1, 1, 1), 100, np.uint8)
    for epsilon, levels in ((0.1, 25), (8 / 255, 8), (0.2, 51)):
      images = base / 255.0 + epsilon
      moved = perturbation.quantize(images, base, epsilon=epsilon, norm="linf")
      self.assertEqual(int(moved.item()), 100 + levels)
    for k in range(1, 256):
      self.assertEqual(np.floor(k / 255 * 255.0), k)

  def test_l2_rounding_up_is_taken_back(self):
    base = np.zeros((1, 2, 1, 1), np.uint8)
    images = np.full(base.shape, 0.6 / 255.0)  # Both pixels round up to one level.
    moved = perturbation.quantize(images, base, epsilon=0.9 / 255, norm="l2")
    np.testing.assert_array_equal(moved, 0)


class LowPassTest(parameterized.TestCase):
  @parameterized.parameters(1, 3)
  def test_keeps_the_lowest_cosines_and_nothing_else(self, num_frequencies):
    images = np.random.default_rng(0).normal(size=(2, 6, 8, 3))
    passed = perturbation.low_pass(jnp.asarray(images, jnp.float32), num_frequencies)
    before, after = (scipy.fft.dctn(x, axes=(1, 2), norm="ortho") for x in (images, passed))
    kept = np.s_[:, :num_frequencies, :num_frequencies]
    np.testing.assert_allclose(after[kept], before[kept], atol=1e-5)
    after[kept] = 0.0
    np.testing.assert_allclose(after, 0.0, atol=1e-5)

  def test_one_frequency_is_the_mean(self):
    images = jnp.arange(48.0).reshape(1, 6, 8, 1)
    np.testing.assert_allclose(perturbation.low_pass(images, 1), images.mean(), rtol=1e-5)


class SmallGradientTest(parameterized.TestCase):
  @parameterized.parameters(1.0, 1e-12, 1e-20, 1e-30, 1e-33, 1e30)
  def test_any_gradient_has_a_direction_of_length_one(self, scale):
    """Squares of 1e-20 are 0 in float32."""
    direction = perturbation.steepest_direction(jnp.float32(scale) * _DELTA, norm="l2")
    expected = perturbation.steepest_direction(_DELTA, norm="l2")
    np.testing.assert_allclose(direction, expected, rtol=1e-4, atol=1e-6)
    sizes = np.sqrt(np.square(direction).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(sizes, 1.0, rtol=1e-5)


if __name__ == "__main__":
  absltest.main()
