"""Nearest neighbours by brute force, and the filters that look at them."""

import jax
import numpy as np
import point_clouds
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.defenses.filters import deep_knn, knn, neighbours


def _by_brute_force(points):
  """All distances in float64, and who is nearest, itself left out."""
  points = points.astype(np.float64)
  distances = np.linalg.norm(points[:, None] - points[None], axis=2)
  np.fill_diagonal(distances, np.inf)
  return distances, distances.argsort(axis=1)


class NeighboursTest(parameterized.TestCase):
  @parameterized.parameters((1, 0.0), (5, 0.0), (7, 100.0), (89, 0.0))
  def test_they_are_those_of_brute_force(self, k, offset):
    points, _ = point_clouds.clouds()
    points += np.float32(offset)
    distances, nearest = _by_brute_force(points)
    found = neighbours.find(points, k)
    np.testing.assert_array_equal(found.positions, nearest[:, :k])
    expected = np.take_along_axis(distances, nearest[:, :k], axis=1)
    np.testing.assert_allclose(found.distances, expected, rtol=1e-5)

  def test_they_are_found_block_by_block(self):
    points, _ = point_clouds.clouds(sizes=(500, 400, 400))
    distances, nearest = _by_brute_force(points)
    found = neighbours.find(points, 3)
    expected = np.take_along_axis(distances, nearest[:, :3], axis=1)
    np.testing.assert_allclose(found.distances, expected, rtol=1e-5)
    own = np.take_along_axis(distances, found.positions, axis=1)
    np.testing.assert_allclose(own, expected, rtol=1e-5)

  def test_of_equal_points_none_is_its_own_neighbour(self):
    found = neighbours.find(np.ones((6, 3), np.float32), 4)
    self.assertFalse((found.positions == np.arange(6)[:, None]).any())
    np.testing.assert_array_equal(found.distances, 0.0)

  @parameterized.parameters(0, -1, 87)
  def test_a_k_that_there_is_not(self, k):
    words = f"'knn' is to look at k = {k} neighbours, but of 87 images each has 86: use"
    with self.assertRaisesRegex(errors.InputError, words):
      knn.knn(point_clouds.images(), jax.random.key(0), point_clouds.tools(), k=k)

  def test_a_k_above_a_class(self):
    words = "'deep_knn' .* but class 1 has 24 images: use a k of at most 24"
    with self.assertRaisesRegex(errors.InputError, words):
      deep_knn.deep_knn(point_clouds.images(), jax.random.key(0), None, k=25)


class KnnTest(parameterized.TestCase):
  def test_it_is_the_sum_of_distances(self):
    points, _ = point_clouds.clouds()
    distances, _ = _by_brute_force(points)
    expected = np.sort(distances, axis=1)[:, :5].sum(axis=1)
    np.testing.assert_allclose(knn.score(neighbours.find(points, 8)), expected, rtol=1e-5)

  def test_it_grows_with_k(self):
    points, _ = point_clouds.clouds()
    nearest = neighbours.find(points, 20)
    scores = np.stack([knn.score(nearest, k) for k in range(1, 21)])
    self.assertTrue((np.diff(scores, axis=0) > 0).all())

  def test_moving_and_turning_all_points_changes_nothing(self):
    points, _ = point_clouds.clouds()
    scores = [
      knn.score(neighbours.find(each, 5)) for each in (points, point_clouds.moved(points))
    ]
    np.testing.assert_allclose(*scores, rtol=1e-4)

  def test_a_far_point_goes_first(self):
    points, _ = point_clouds.clouds()
    points[11] += 1e4
    self.assertEqual(knn.score(neighbours.find(points, 5)).argmax(), 11)


def _rule_by_hand(points, labels, k, rule):
  """Which points go, by the words of the rule."""
  _, nearest = _by_brute_force(points)
  gone = []
  for own, others in zip(labels, nearest, strict=True):
    if rule == "plurality":
      votes = np.bincount([own, *labels[others[: k - 1]]], minlength=labels.max() + 1)
      gone.append(votes.max() > votes[own])
    else:
      same = (labels[others[:k]] == own).sum()
      gone.append(same < k - same)
  return np.array(gone)


class DeepKnnTest(parameterized.TestCase):
  @parameterized.product(k=(1, 2, 5, 12), rule=deep_knn.RULES)
  def test_it_is_the_rule_in_words(self, k, rule):
    points, labels = point_clouds.clouds(sizes=(30, 20, 25, 25))
    points *= 0.5  # The classes overlap.
    labels = np.where(np.arange(100) % 9 == 0, (labels + 1) % 4, labels).astype(np.int32)
    expected = _rule_by_hand(points, labels, k, rule)
    for each in (points, point_clouds.moved(points)):
      found = deep_knn.score(neighbours.find(each, k), labels, k=k, rule=rule) > 0
      np.testing.assert_array_equal(found, expected)
      nothing = k <= 2 and rule == "plurality"  # Itself, and a tie at most.
      self.assertEqual(expected.any(), not nothing)

  @parameterized.parameters(*deep_knn.RULES)
  def test_of_one_class_nothing_is_removed(self, rule):
    one = point_clouds.images(sizes=(20,))
    tools = point_clouds.tools()
    given = (one, jax.random.key(0), tools)
    _, report = deep_knn.deep_knn(*given, k=7, rule=rule, of="pixels")
    self.assertEmpty(report.removed)

  def test_plurality_of_one_removes_nothing_even_of_equal_images(self):
    training_set = point_clouds.images()
    same = training_set._replace(images=np.full_like(training_set.images, 9))
    given = (same, jax.random.key(0), point_clouds.tools())
    _, report = deep_knn.deep_knn(*given, k=1, of="pixels")
    self.assertEmpty(report.removed)

  @parameterized.parameters(*deep_knn.RULES)
  def test_images_with_the_label_of_another_class_are_found(self, rule):
    training_set = point_clouds.images()
    pixels = 80 * training_set.labels[:, None, None, None] + training_set.images // 16
    labels = training_set.labels.copy()
    strangers = training_set.present[::20]
    labels[strangers] = (labels[strangers] + 1) % 3
    given = training_set._replace(images=pixels.astype(np.uint8), labels=labels)
    given = (given, jax.random.key(0), point_clouds.tools())
    _, report = deep_knn.deep_knn(*given, k=12, rule=rule, of="pixels")
    np.testing.assert_array_equal(report.removed, strangers)
    self.assertEqual(report.values["threshold"], 0.0)

  def test_a_class_among_others_is_not_emptied(self):
    training_set = point_clouds.images()
    labels = training_set.labels.copy()
    labels[np.flatnonzero(labels == 0)[:6]] = 3
    given = (training_set._replace(labels=labels), jax.random.key(0), point_clouds.tools())
    with self.assertRaisesRegex(errors.InputError, "all 6 images of class 3: use another"):
      deep_knn.deep_knn(*given, k=5, rule="majority", of="pixels")

  def test_another_rule(self):
    with self.assertRaisesRegex(
      errors.InputError, "'vote': use one of plurality, majority"
    ):
      deep_knn.deep_knn(point_clouds.images(), jax.random.key(0), None, rule="vote")


if __name__ == "__main__":
  absltest.main()
