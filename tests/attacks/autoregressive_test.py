"""Autoregressive patterns: the filter that annihilates them, their spread, the budget."""

import jax
import numpy as np
from absl.testing import absltest, parameterized
from scipy import signal

from pacd_jax import types
from pacd_jax.attacks import autoregressive


def _response(pattern, coefficients):
  """Of one channel, by SciPy, to the filter with -1 at its end."""
  own = coefficients.copy()
  own[-1, -1] = -1.0
  return signal.correlate2d(pattern, own, mode="valid")


def _grey(count=5, shape=(8, 8, 2)):
  images = np.full((2 * count, *shape), 128, np.uint8)
  return types.Dataset(images, (np.arange(2 * count) % 2).astype(np.int32))


class ProcessTest(parameterized.TestCase):
  def test_its_filter_maps_a_pattern_to_zero_and_no_other(self):
    rng = np.random.default_rng(0)
    starts = rng.normal(size=(3, 9, 7, 2))
    own = autoregressive.coefficients(jax.random.key(0), 2, (9, 7))
    other = autoregressive.coefficients(jax.random.key(1), 2, (9, 7))
    patterns = autoregressive.generate(own, starts)
    for pattern in patterns:
      for channel in range(2):
        found = _response(pattern[..., channel], own[..., channel])
        np.testing.assert_allclose(found, 0.0, atol=1e-12)
        answer = _response(pattern[..., channel], other[..., channel])
        self.assertGreater(np.abs(answer).max(), 0.05)
    np.testing.assert_array_equal(patterns[:, :2], starts[:, :2])
    np.testing.assert_array_equal(patterns[:, :, :2], starts[:, :, :2])

  def test_a_pattern_by_hand(self):
    """Each value is the one above it plus half of the one to its left."""
    own = np.zeros((3, 3, 1))
    own[1, 2], own[2, 1] = 1.0, 0.5
    starts = np.ones((1, 4, 4, 1))
    found = autoregressive.generate(own, starts)[0, 2:, 2:, 0]
    np.testing.assert_allclose(found, [[1.5, 1.75], [2.0, 2.75]])

  def test_a_draw_that_overflows_is_not_kept(self):
    """Draws of the largest sum, of which most grow out of float64 in a large image."""
    shape = (3, 1200)
    own = autoregressive.coefficients(jax.random.key(0), 1, shape)
    patterns = autoregressive.generate(own, np.ones((1, *shape, 1)))
    self.assertLess(np.abs(patterns).max(), 1e6)

  @parameterized.parameters(0, 1, 2)
  def test_patterns_neither_grow_nor_die(self, seed):
    shape = (36, 36)
    own = autoregressive.coefficients(jax.random.key(seed), 1, shape)
    self.assertEqual(own[-1, -1, 0], 0.0)
    self.assertLessEqual(np.abs(own).sum(), 4.0 + 1e-9)
    starts = np.random.default_rng(seed).normal(size=(20, *shape, 1))
    patterns = autoregressive.generate(own, starts)[:, 4:, 4:]
    first, last = patterns[:, :16, :16], patterns[:, 16:, 16:]
    ratio = np.sqrt((last**2).mean() / (first**2).mean())
    self.assertBetween(ratio, 0.1, 10.0)


class ArTest(parameterized.TestCase):
  @parameterized.parameters(("linf", 0.1), ("l2", 0.8))
  def test_has_the_size_of_the_budget_and_one_process(self, norm, epsilon):
    given = {"epsilon": epsilon, "norm": norm, "crop": 3}
    found = autoregressive.ar(_grey(), 1, jax.random.key(0), **given)
    self.assertEqual((found.dtype, found.shape), (np.float32, (5, 8, 8, 2)))
    delta = found - np.float32(128 / 255)
    order = {"linf": np.inf, "l2": 2}[norm]
    sizes = np.linalg.norm(delta.reshape(5, -1), order, axis=1)
    np.testing.assert_allclose(sizes, epsilon, rtol=1e-4)
    # The images' patterns differ, and have one linear relation in all windows.
    self.assertGreater(np.abs(delta[0] - delta[1]).max(), 0.1 * epsilon)
    for channel in range(2):
      windows = np.lib.stride_tricks.sliding_window_view(
        delta[..., channel], (3, 3), (1, 2)
      )
      singular = np.linalg.svd(windows.reshape(-1, 9), compute_uv=False)
      self.assertLess(singular[-1], 1e-4 * singular[0])
      self.assertGreater(singular[-3], 1e-3 * singular[0])

  def test_a_key_fixes_it(self):
    one, same, other = (
      autoregressive.ar(_grey(), 1, jax.random.key(seed), epsilon=0.1) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    self.assertGreater(np.abs(one - other).max(), 0.05)


if __name__ == "__main__":
  absltest.main()
