"""Baseline poisons against their formulas."""

import jax
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import types
from pacd_jax.attacks import baselines


def _train(num=30):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (num, 3, 3, 1), np.uint8)
  return types.Dataset(images, (np.arange(num) % 3).astype(np.int32))


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


if __name__ == "__main__":
  absltest.main()
