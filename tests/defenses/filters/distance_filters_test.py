"""The filters by distances to centroids, `l2` and `slab`."""

import jax
import numpy as np
import point_clouds
from absl.testing import absltest, parameterized

from pacd_jax import errors, types
from pacd_jax.defenses.filters import centroids, l2, slab


def _means(points, labels):
  return centroids.means(points, labels, labels.max() + 1)


class L2Test(parameterized.TestCase):
  def test_it_is_the_distance(self):
    points, labels = point_clouds.clouds()
    means = _means(points, labels)
    expected = [np.linalg.norm(x - means[y]) for x, y in zip(points, labels, strict=True)]
    np.testing.assert_allclose(l2.score(points, labels, means), expected, rtol=1e-6)

  @parameterized.parameters(0, 30, 120)
  def test_a_whole_class_takes_its_centroid_with_it(self, shift):
    """Whatever was added to class 1, the filter removes the same images as without."""
    before = point_clouds.images()
    before = before._replace(images=before.images // 2)
    shifted = before.images.copy()
    shifted[before.labels == 1] += np.uint8(shift)
    poisoned = before._replace(images=shifted)
    clean, found = (
      l2.l2(each, jax.random.key(0), point_clouds.tools(), share=0.25)[1]
      for each in (before, poisoned)
    )
    np.testing.assert_array_equal(found.removed, clean.removed)
    self.assertEqual(found.values["removed_share_of_class_1"], 0.25)

  def test_trusted_centroids_see_the_shift_but_remove_no_more(self):
    clean = point_clouds.images()
    clean = clean._replace(images=clean.images // 2)
    tools = point_clouds.tools(validation=types.Dataset(*clean[:2]))
    shifted = clean.images.copy()
    shifted[clean.labels == 1] += 100
    poisoned = clean._replace(images=shifted)
    of_data, of_trusted = (
      l2.l2(poisoned, jax.random.key(0), tools, centroids=source)[1].values
      for source in centroids.SOURCES
    )
    name = "threshold_of_class_1"
    self.assertGreater(of_trusted[name], 1.5 * of_data[name])
    name = "removed_share_of_class_1"
    self.assertEqual(of_trusted[name], of_data[name])


class SlabTest(parameterized.TestCase):
  def test_of_two_classes_it_is_the_papers(self):
    points, labels = point_clouds.clouds(sizes=(20, 30))
    means = _means(points, labels)
    line = (means[0] - means[1]) / np.linalg.norm(means[0] - means[1])
    expected = [abs((x - means[y]) @ line) for x, y in zip(points, labels, strict=True)]
    found = slab.score(points, labels, means)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

  def test_of_more_it_is_the_worst_pairs(self):
    points, labels = point_clouds.clouds(sizes=(20, 25, 30, 20))
    means = _means(points, labels)
    expected = np.zeros(len(labels))
    for a, b in np.argwhere(~np.eye(4, dtype=bool)):
      pair = np.isin(labels, (a, b))
      of_pair = np.zeros(len(labels))
      of_pair[pair] = slab.score(points[pair], labels[pair], means)
      expected = np.maximum(expected, of_pair)
    found = slab.score(points, labels, means)
    np.testing.assert_allclose(found, expected, rtol=1e-5)

  @parameterized.parameters(0, 1, 2)
  def test_it_is_below_l2(self, seed):
    points, labels = point_clouds.clouds(seed=seed)
    means = _means(points, labels)
    along, distance = (f.score(points, labels, means) for f in (slab, l2))
    self.assertTrue((along <= distance * (1 + 1e-6)).all())
    self.assertLess(along.sum(), 0.9 * distance.sum())

  def test_it_sees_along_the_line_alone(self):
    points, labels = point_clouds.clouds(sizes=(20, 20), dims=3)
    points[:, 0] = np.where(labels == 0, -5, 5) + 0.1 * points[:, 0]
    points[:, 1:] -= _means(points, labels)[labels, 1:].astype(np.float32)
    means = _means(points, labels)
    far = {axis: points.copy() for axis in (0, 1)}
    for axis, each in far.items():
      each[3, axis] += 100
    scores = {axis: slab.score(each, labels, means) for axis, each in far.items()}
    self.assertEqual(scores[0].argmax(), 3)
    np.testing.assert_allclose(scores[1], slab.score(points, labels, means), atol=1e-4)

  def test_one_class(self):
    one = point_clouds.images(sizes=(20,))
    with self.assertRaisesRegex(errors.InputError, "'slab' .* has 1: use at least two, or"):
      slab.slab(one, jax.random.key(0), point_clouds.tools())

  def test_centroids_that_are_the_same(self):
    training_set = point_clouds.images()
    images = training_set.images.copy()
    images[training_set.labels != 0] = 70
    same = training_set._replace(images=images)
    with self.assertRaisesRegex(
      errors.InputError, "no line between classes 1 and 2, whose"
    ):
      slab.slab(same, jax.random.key(0), point_clouds.tools())


class BothTest(parameterized.TestCase):
  @parameterized.parameters(l2, slab)
  def test_moving_and_turning_all_points_changes_nothing(self, module):
    points, labels = point_clouds.clouds()
    scores = [
      module.score(each, labels, _means(each, labels))
      for each in (points, point_clouds.moved(points))
    ]
    np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-5)

  @parameterized.parameters(l2, slab)
  def test_the_order_of_points_changes_nothing(self, module):
    points, labels = point_clouds.clouds()
    order = np.random.default_rng(7).permutation(len(labels))
    means = _means(points, labels)
    scores = module.score(points, labels, means)
    found = module.score(points[order], labels[order], means)
    np.testing.assert_allclose(found, scores[order], rtol=1e-5)

  def test_a_far_point_goes_first(self):
    points, labels = point_clouds.clouds()
    points[11] += 1e4
    self.assertEqual(l2.score(points, labels, _means(points, labels)).argmax(), 11)


if __name__ == "__main__":
  absltest.main()
