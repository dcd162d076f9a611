"""Activation clustering: what is split, and what a clean class keeps."""

import jax
import numpy as np
import point_clouds
import pytest
from absl.testing import absltest, parameterized

from pacd_jax.data import training_sets
from pacd_jax.defenses.filters import activation_clustering
from pacd_jax.experiment.entries import data_sets


def _two(few, many, distance=20.0, seed=0):
  """Two separate clouds in 12 dimensions, in a random order; which are of the first."""
  rng = np.random.default_rng(seed)
  is_few = rng.permutation(np.arange(few + many) < few)
  points = rng.standard_normal((few + many, 12)).astype(np.float32)
  points[is_few, 2] += np.float32(distance)
  return points, is_few


def _score(points, labels, seed=0, **options):
  return activation_clustering.score(points, labels, jax.random.key(seed), **options)


class ScoreTest(parameterized.TestCase):
  @parameterized.parameters(*range(4))
  def test_two_separate_clouds_are_split_exactly(self, seed):
    points, is_few = _two(10, 90, seed=seed)
    found = _score(points, np.zeros(100, np.int32), seed)
    np.testing.assert_array_equal(found > 0, is_few)
    self.assertLen(np.unique(found[is_few]), 1)
    self.assertBetween(found.max(), 0.5, 1.0)

  def test_every_class_has_its_own_clusters(self):
    (a, of_a), (b, of_b) = _two(5, 60), _two(7, 50, distance=-30.0, seed=1)
    labels = np.repeat([2, 0], (len(a), len(b))).astype(np.int32)
    found = _score(np.concatenate([a, b]), labels)
    np.testing.assert_array_equal(found > 0, np.r_[of_a, of_b])

  def test_a_key_gives_one_split(self):
    points, _ = point_clouds.clouds(sizes=(60, 60), dims=15)
    labels = np.zeros(120, np.int32)
    one, same, mirrored = (
      _score(each, labels, 3, size=0.5) for each in (points, points, -points)
    )
    np.testing.assert_array_equal(one, same)
    np.testing.assert_allclose(mirrored, one, rtol=1e-5)

  @parameterized.parameters((50, 50, 0.5), (20, 80, 0.15), (15, 85, 0.15))
  def test_a_cluster_that_is_not_small_scores_nothing(self, few, many, size):
    points, _ = _two(few, many)
    found = _score(points, np.zeros(100, np.int32), size=size)
    np.testing.assert_array_equal(found, 0.0)

  def test_of_a_large_class_a_sample_has_both_clusters(self):
    points, is_few = _two(1, 2499, distance=1000.0)
    found = _score(points, np.zeros(2500, np.int32))
    np.testing.assert_array_equal(found > 0.9, is_few)

  @parameterized.parameters(1, 2, 3, 12)
  def test_equal_images_and_a_few(self, count):
    points = np.ones((count, 4), np.float32)
    np.testing.assert_array_equal(_score(points, np.zeros(count, np.int32)), 0.0)


class ActivationClusteringTest(absltest.TestCase):
  @pytest.mark.long
  def test_clean_digits_keep_their_images(self):
    digits = training_sets.whole(data_sets.load("digits").train)
    tools = point_clouds.tools()
    defence = activation_clustering.activation_clustering
    _, report = defence(digits, jax.random.key(0), tools, of="pixels")
    self.assertEmpty(report.removed)
    # The conditions do it: one cluster of each class is smaller than the other.
    loose = {"of": "pixels", "silhouette": 0.0, "size": 0.5}
    _, report = defence(digits, jax.random.key(0), tools, **loose)
    shares = [report.values[f"removed_share_of_class_{label}"] for label in range(10)]
    self.assertGreater(min(shares), 0.15)

  @pytest.mark.long
  def test_a_patch_is_removed(self):
    digits = training_sets.whole(data_sets.load("digits").train)
    strangers = np.flatnonzero(digits.labels == 3)[:12]
    images = digits.images[strangers]
    images[:, :3, :3] = 255
    labels = np.full(12, 8, np.int32)
    given = training_sets.insert(digits, images, labels)
    _, report = activation_clustering.activation_clustering(
      given, jax.random.key(0), point_clouds.tools(), of="pixels"
    )
    np.testing.assert_array_equal(report.removed, given.present[-12:])
    self.assertEqual(report.values["most_removed_class"], 8)


if __name__ == "__main__":
  absltest.main()
