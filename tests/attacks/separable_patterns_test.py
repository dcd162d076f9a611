"""Linearly separable patterns: blocks, classes that a linear program separates, budget."""

import jax
import numpy as np
from absl.testing import absltest, parameterized
from scipy import optimize

from pacd_jax import types
from pacd_jax.attacks import separable_patterns


def _patterns(labels, shape=(8, 8, 2), seed=0, num_patches=4, class_sep=10.0):
  sizes = {"num_patches": num_patches, "class_sep": class_sep}
  key = jax.random.key(seed)
  return np.asarray(separable_patterns.patterns(key, labels, shape, **sizes))


def _is_separable(points, is_of_class):
  """Whether some (w, b) has y (w'x + b) >= 1 for all points: a linear program."""
  signs = np.where(is_of_class, 1.0, -1.0)[:, None]
  rows = -signs * np.hstack([points, np.ones((len(points), 1))])
  costs, bounds = np.zeros(rows.shape[1]), (None, None)
  return optimize.linprog(costs, rows, -np.ones(len(points)), bounds=bounds).success


class PatternsTest(parameterized.TestCase):
  @parameterized.parameters((8, 8, 4), (7, 5, 3), (28, 28, 4))
  def test_are_constant_on_blocks_and_differ_between_them(self, height, width, count):
    found = _patterns(np.array([1, 2]), (height, width, 2), num_patches=count)
    self.assertEqual(found.shape, (2, height, width, 2))
    places = np.arange(height) * count // height, np.arange(width) * count // width
    blocks = places[0][:, None] * count + places[1]
    for pattern in np.moveaxis(found, -1, 1).reshape(4, height, width):
      values = [set(pattern[blocks == block]) for block in range(count**2)]
      self.assertTrue(all(len(of_block) == 1 for of_block in values))
      self.assertLen(set.union(*values), count**2)

  def test_a_block_is_at_least_a_pixel(self):
    found = _patterns(np.array([0]), (1, 9, 1), num_patches=4)
    self.assertLen(np.unique(found), 4)

  @parameterized.parameters(3.0, 10.0)
  def test_each_class_is_separable_from_the_others(self, class_sep):
    """With more points than values, where labels at random are not."""
    labels = np.arange(120) % 3
    points = _patterns(labels, num_patches=3, class_sep=class_sep).reshape(120, -1)
    points = np.unique(points, axis=1)[:, :18]
    for label in range(3):
      self.assertTrue(_is_separable(points, labels == label))
    shuffled = np.random.default_rng(0).permutation(labels)
    self.assertFalse(_is_separable(points, shuffled == 0))

  def test_images_of_a_class_differ_by_noise_of_deviation_1(self):
    found = _patterns(np.zeros(400, int), num_patches=8, class_sep=5.0)
    np.testing.assert_allclose(np.abs(found.mean(axis=0)), 5.0, atol=0.25)
    self.assertAlmostEqual(float(found.std(axis=0).mean()), 1.0, delta=0.02)

  def test_a_class_keeps_its_pattern_whatever_the_others(self):
    alone, among = _patterns(np.array([2])), _patterns(np.array([0, 2, 1]))
    np.testing.assert_array_equal(np.sign(alone[0]), np.sign(among[1]))
    self.assertGreater(np.mean(np.sign(among[0]) != np.sign(among[1])), 0.2)


class LspTest(parameterized.TestCase):
  @parameterized.parameters(("linf", 0.1), ("l2", 0.8))
  def test_fills_the_budget(self, norm, epsilon):
    grey = np.full((12, 8, 8, 1), 128, np.uint8)
    train = types.Dataset(grey, (np.arange(12) % 2).astype(np.int32))
    given = {"epsilon": epsilon, "norm": norm}
    found = separable_patterns.lsp(train, 1, jax.random.key(0), **given)
    self.assertEqual((found.dtype, found.shape), (np.float32, (6, 8, 8, 1)))
    delta = (found - np.float32(128 / 255)).reshape(6, -1)
    order = {"linf": np.inf, "l2": 2}[norm]
    np.testing.assert_allclose(np.linalg.norm(delta, order, axis=1), epsilon, rtol=1e-5)
    if norm == "linf":
      np.testing.assert_allclose(np.abs(delta), epsilon, atol=1e-6)
    other = separable_patterns.lsp(train, 1, jax.random.key(1), **given)
    self.assertGreater(np.abs(found - other).max(), 0.05)
    np.testing.assert_array_equal(
      found, separable_patterns.lsp(train, 1, jax.random.key(0), **given)
    )


if __name__ == "__main__":
  absltest.main()
