"""Baseline poisons against their formulas."""

import jax
import numpy as np
from absl.testing import absltest, parameterized
from scipy import signal

from pacd_jax import types
from pacd_jax.attacks import baselines


def _train(num=30):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (num, 3, 3, 1), np.uint8)
  return types.Dataset(images, (np.arange(num) % 3).astype(np.int32))


_DRAWN = (baselines.watermark, baselines.random, baselines.convolution)
_ALL = (*_DRAWN, baselines.classwise, baselines.brightness)


class BudgetTest(parameterized.TestCase):
  @parameterized.product(
    make=_ALL, norm_and_epsilon=(("linf", 0.1), ("linf", 1.0), ("l2", 0.3))
  )
  def test_poisons_are_in_the_budget_and_the_box(self, make, norm_and_epsilon):
    norm, epsilon = norm_and_epsilon
    base = _train().images[_train().labels == 1] / 255.0
    drawn = (jax.random.key(0),) if make in _DRAWN else ()
    poison = make(_train(), 1, *drawn, epsilon=epsilon, norm=norm)
    self.assertEqual((poison.dtype, poison.shape), (np.float32, base.shape))
    self.assertTrue(np.all((poison >= 0) & (poison <= 1)))
    delta = (poison - base).reshape(len(base), -1)
    order = {"linf": np.inf, "l2": 2}[norm]
    self.assertLessEqual(np.linalg.norm(delta, order, axis=1).max(), epsilon + 1e-6)
    self.assertGreater(np.abs(delta).max(), 0)


class WatermarkTest(parameterized.TestCase):
  @parameterized.parameters(0.02, 0.5)
  def test_is_a_clipped_blend_with_an_image_of_another_class(self, epsilon):
    train = _train()
    base = train.images[train.labels == 1] / 255.0
    others = train.images[train.labels != 1] / 255.0
    poison = baselines.watermark(train, 1, jax.random.key(0), epsilon=epsilon, opacity=0.1)
    for x, u in zip(base, poison, strict=True):
      blends = x + np.clip(0.1 * (others - x), -epsilon, epsilon)
      closest = np.abs(blends - u).max(axis=(1, 2, 3)).min()
      self.assertLess(closest, 1e-6)

  def test_a_key_fixes_the_watermark(self):
    one, same, other = (
      baselines.watermark(_train(), 0, jax.random.key(seed), epsilon=0.1)
      for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    self.assertGreater(np.abs(one - other).max(), 0)


class ClasswiseTest(parameterized.TestCase):
  @parameterized.parameters(0.05, 0.3)
  def test_linf_moves_towards_the_other_classes_mean(self, epsilon):
    train = _train()
    base = train.images[train.labels == 2] / 255.0
    others = train.images[train.labels != 2] / 255.0
    expected = base + epsilon * np.sign(others.mean(axis=0) - base.mean(axis=0))
    poison = baselines.classwise(train, 2, epsilon=epsilon)
    np.testing.assert_allclose(poison, np.clip(expected, 0, 1), atol=1e-6)

  def test_l2_moves_by_the_whole_budget_in_one_direction(self):
    train = types.Dataset(_train().images // 2 + 64, _train().labels)  # Away from the box.
    base = train.images[train.labels == 2] / 255.0
    delta = baselines.classwise(train, 2, epsilon=0.2, norm="l2") - base
    np.testing.assert_allclose(np.sqrt((delta**2).sum(axis=(1, 2, 3))), 0.2, rtol=1e-4)
    np.testing.assert_allclose(delta, np.broadcast_to(delta[:1], delta.shape), atol=1e-6)


class RandomTest(parameterized.TestCase):
  def _delta(self, seed, **budget):
    train = types.Dataset(_train().images // 2 + 64, _train().labels)  # Away from the box.
    poison = baselines.random(train, 1, jax.random.key(seed), **budget)
    return poison - train.images[train.labels == 1] / 255.0

  def test_linf_moves_every_value_up_or_down_by_the_budget(self):
    delta = self._delta(0, epsilon=0.1)
    np.testing.assert_allclose(np.abs(delta), 0.1, atol=1e-6)
    np.testing.assert_allclose(delta, np.broadcast_to(delta[:1], delta.shape), atol=1e-6)
    self.assertGreater(np.abs(delta - self._delta(1, epsilon=0.1)).max(), 0.1)
    np.testing.assert_array_equal(delta, self._delta(0, epsilon=0.1))

  def test_l2_has_the_length_of_the_budget(self):
    delta = self._delta(0, epsilon=0.2, norm="l2")
    np.testing.assert_allclose(np.sqrt((delta**2).sum(axis=(1, 2, 3))), 0.2, rtol=1e-4)

  def test_signs_are_even_and_of_no_neighbour(self):
    train = types.Dataset(np.full((1, 64, 64, 1), 128, np.uint8), np.zeros(1, np.int32))
    signs = np.sign(baselines.random(train, 0, jax.random.key(0), epsilon=0.1) - 0.502)
    for moment in (signs, signs[:, 1:] * signs[:, :-1], signs[:, :, 1:] * signs[:, :, :-1]):
      self.assertLess(abs(moment.mean()), 4 / 64)  # Four standard deviations.


class BrightnessTest(parameterized.TestCase):
  @parameterized.parameters(("linf", 0.1), ("l2", 0.1 / 3.0))
  def test_every_value_rises_by_the_same(self, norm, rise):
    base = _train().images[_train().labels == 1] / 255.0
    poison = baselines.brightness(_train(), 1, epsilon=0.1, norm=norm)  # Nine values.
    np.testing.assert_allclose(poison, np.minimum(base + rise, 1.0), atol=1e-6)


class ConvolutionTest(parameterized.TestCase):
  @parameterized.parameters(1, 2, 3, 5, 9)
  def test_is_scipys_correlation_over_its_largest_value(self, size):
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(4, 6, 7, 3)).astype(np.float32)
    kernel = rng.uniform(size=(size, size)).astype(np.float32)
    actual = baselines.filtered(images, kernel)
    start = size // 2  # An even filter's spare zero is below and right.
    for image, u in zip(images, actual, strict=True):
      whole = [signal.correlate2d(image[..., c], kernel) for c in range(3)]
      expected = np.stack(whole, -1)[start : start + 6, start : start + 7]
      np.testing.assert_allclose(u, expected / expected.max(), rtol=2e-5)

  def test_a_black_image_stays_black(self):
    black = np.zeros((1, 4, 4, 1), np.float32)
    np.testing.assert_array_equal(baselines.filtered(black, np.ones((3, 3))), black)

  def test_the_filter_is_one_at_a_place_and_at_most_the_blur_elsewhere(self):
    places = set()
    for seed in range(20):
      kernel = np.asarray(baselines.random_filter(jax.random.key(seed), 3, 0.3))
      places.add(int(kernel.argmax()))
      others = np.delete(kernel, kernel.argmax())
      self.assertEqual(kernel.max(), 1.0)
      self.assertTrue(np.all((others >= 0) & (others <= 0.3)))
      self.assertGreater(others.std(), 0)
    self.assertGreater(len(places), 4)

  def test_a_large_budget_leaves_the_filtered_images(self):
    base = np.float32(_train().images[_train().labels == 1] / 255.0)
    filter_of = {"kernel_size": 3, "blur": 0.5}
    poison = baselines.convolution(_train(), 1, jax.random.key(3), epsilon=1.0, **filter_of)
    kernel = baselines.random_filter(jax.random.key(3), **filter_of)
    np.testing.assert_allclose(poison, baselines.filtered(base, kernel), atol=1e-6)


if __name__ == "__main__":
  absltest.main()
