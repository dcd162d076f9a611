"""Singular vectors, and the filters by them: `svd` and `spectral_signatures`."""

import jax
import numpy as np
import point_clouds
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.defenses.filters import centroids, spectral_signatures, spectrum, svd


class SpectrumTest(parameterized.TestCase):
  @parameterized.parameters((50, 8, None), (5, 30, 4), (60, 45, 2), (20, 45, 1), (3, 2, 9))
  def test_it_is_the_svd(self, count, size, num):
    points = np.random.default_rng(0).standard_normal((count, size)).astype(np.float32)
    _, values, right = np.linalg.svd(points.astype(np.float64))
    expected = np.zeros(size)
    expected[: len(values)] = values**2
    squared, found = spectrum.right_singular(points, num)
    num = min(num or size, size)
    np.testing.assert_allclose(squared, expected[:num], rtol=1e-6, atol=1e-9)
    cosines = np.abs((found * right[:num]).sum(axis=1))
    np.testing.assert_allclose(cosines, 1.0, rtol=1e-6)

  @parameterized.parameters(1, 30)
  def test_of_zeros(self, num):
    squared, found = spectrum.right_singular(np.zeros((4, 30), np.float32), num)
    np.testing.assert_array_equal(squared, np.zeros(num))
    self.assertEqual(found.shape, (num, 30))


class SvdTest(parameterized.TestCase):
  def _clouds(self):
    """Points near a plane and their classes; means of classes are not in the plane."""
    points, labels = point_clouds.clouds(dims=8)
    points[:, :2] *= 10.0
    return points, labels, centroids.means(points, labels, 3)

  @parameterized.parameters(0.5, 0.95, 0.999)
  def test_it_is_the_distance_to_the_subspace(self, explained):
    points, labels, means = self._clouds()
    _, values, right = np.linalg.svd(points.astype(np.float64), full_matrices=False)
    shares = np.cumsum(values**2) / (values**2).sum()
    rank = next(r for r in range(1, 9) if shares[r - 1] >= explained)
    spanning = np.concatenate([right[:rank], means]).T
    nearest = spanning @ np.linalg.lstsq(spanning, points.T, rcond=None)[0]
    expected = np.linalg.norm(points.T - nearest, axis=0)
    found = svd.score(points, labels, means, explained=explained)
    np.testing.assert_allclose(found, expected, atol=1e-5)

  def test_turning_all_points_changes_nothing(self):
    points, labels, means = self._clouds()
    turned = point_clouds.rotated(points)
    scores = [
      svd.score(points, labels, means),
      svd.score(turned, labels, centroids.means(turned, labels, 3)),
    ]
    np.testing.assert_allclose(*scores, rtol=1e-3, atol=1e-4)

  def test_centroids_are_in_the_subspace(self):
    points, labels, means = self._clouds()
    found = svd.score(np.concatenate([points, means]), np.r_[labels, 0, 1, 2], means)
    np.testing.assert_allclose(found[-3:], 0.0, atol=1e-5)
    self.assertGreater(found[:-3].min(), 0.01)

  def test_black_images(self):
    zeros = np.zeros((6, 5), np.float32)
    labels = np.arange(6) % 2
    found = svd.score(zeros, labels, centroids.means(zeros, labels, 2))
    np.testing.assert_array_equal(found, 0.0)

  def test_a_pattern_of_its_own_is_removed_and_a_shared_one_is_not(self):
    training_set = point_clouds.images(sizes=(40, 40))
    smooth = np.zeros_like(training_set.images)
    smooth[:, 0] = training_set.images[:, :1, 0]  # Rank one, but for the pattern.
    alone, shared = smooth.copy(), smooth.copy()
    one = training_set.present[5]
    alone[one, 1, 2] = 60
    shared[training_set.labels == 0, 1, 2] = 60
    given = (jax.random.key(0), point_clouds.tools(num_classes=2))
    scores = []
    for images in (alone, shared):
      _, report = svd.svd(training_set._replace(images=images), *given, share=0.02)
      label = training_set.labels[one]
      scores.append(report.values[f"threshold_of_class_{label}"])
      if images is alone:
        self.assertIn(one, report.removed)
    np.testing.assert_allclose(scores, 0.0, atol=1e-3)


class SpectralSignaturesTest(parameterized.TestCase):
  def test_it_is_the_projection_of_centred_points(self):
    points, labels = point_clouds.clouds()
    found = spectral_signatures.score(points, labels)
    for label in range(3):
      of_class = points[labels == label].astype(np.float64)
      centred = of_class - of_class.mean(axis=0, keepdims=True)
      main = np.linalg.svd(centred)[2][0]
      expected = np.abs(centred @ main)  # Whatever the sign of `main`.
      np.testing.assert_allclose(found[labels == label], expected, atol=1e-5)

  def test_moving_and_turning_all_points_changes_nothing(self):
    points, labels = point_clouds.clouds()
    scores = [
      spectral_signatures.score(each, labels)
      for each in (points, -points, point_clouds.moved(points))
    ]
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-4)
    np.testing.assert_allclose(scores[2], scores[0], atol=1e-3)

  @parameterized.parameters(0, 1, 2)
  def test_a_planted_shift_above_the_papers_bound_is_found(self, seed):
    """|mu_D - mu_W|^2 >= 6 sigma^2 / eps, sigma^2 the larger covariance's norm."""
    rng = np.random.default_rng(seed)
    eps, count, size = 0.1, 400, 20
    points = rng.standard_normal((count, size)).astype(np.float32)
    is_poison = np.arange(count) < eps * count
    largest = max(
      np.linalg.norm(np.cov(points[those].T), 2) for those in (is_poison, ~is_poison)
    )
    points[is_poison, 3] += np.float32(1.2 * np.sqrt(6 * largest / eps))
    scores = spectral_signatures.score(points, np.zeros(count, np.int32))
    removed = np.argsort(scores)[-round(1.5 * eps * count) :]
    self.assertTrue(np.isin(np.flatnonzero(is_poison), removed).all())

  @parameterized.parameters(0.0, 0.1, 0.6)
  def test_it_removes_half_as_much_again_as_is_expected(self, poisoned_share):
    given = (point_clouds.images(), jax.random.key(0), point_clouds.tools())
    after, report = spectral_signatures.spectral_signatures(
      *given, poisoned_share=poisoned_share, of="pixels"
    )
    kept = [round((1 - 1.5 * poisoned_share) * count) for count in (29, 24, 34)]
    found = np.bincount(after.labels[after.present])
    np.testing.assert_array_equal(found, kept)
    self.assertLen(report.removed, 87 - sum(kept))

  @parameterized.parameters(-0.1, 0.67, float("nan"))
  def test_a_share_out_of_range(self, share):
    words = "use a poisoned_share of at least 0 and under 2/3"
    with self.assertRaisesRegex(errors.InputError, words):
      spectral_signatures.spectral_signatures(
        point_clouds.images(), jax.random.key(0), None, poisoned_share=share
      )


if __name__ == "__main__":
  absltest.main()
