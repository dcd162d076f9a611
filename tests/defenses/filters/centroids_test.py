"""Centroids of classes, of either source."""

import numpy as np
import point_clouds
from absl.testing import absltest

from pacd_jax import errors, types
from pacd_jax.defenses.filters import centroids


class CentroidsTest(absltest.TestCase):
  def test_means_of_classes(self):
    points, labels = point_clouds.clouds()
    found = centroids.means(points, labels, 5)
    expected = [
      points[labels == label].astype(np.float64).mean(axis=0) for label in range(3)
    ]
    np.testing.assert_allclose(found[:3], expected, rtol=1e-12)
    self.assertTrue(np.isnan(found[3:]).all())

  def test_of_the_data_and_of_trusted_images(self):
    points, labels = point_clouds.clouds()
    tools = point_clouds.tools()

    def represent(images):
      return images.reshape(len(images), -1).astype(np.float32)

    found = {
      source: centroids.find(represent, points, labels, tools, source)
      for source in centroids.SOURCES
    }
    np.testing.assert_array_equal(found["data"], centroids.means(points, labels, 3))
    images, trusted = tools.validation
    expected = centroids.means(represent(images), trusted, 3)
    np.testing.assert_array_equal(found["trusted"], expected)

  def test_a_class_without_trusted_images(self):
    images, labels = point_clouds.tools().validation
    validation = types.Dataset(images[labels != 1], labels[labels != 1])
    tools = point_clouds.tools(validation)
    centroids.check("l2", point_clouds.images(), tools, "data")
    words = (
      "'l2' is to .* trusted images, but the validation split has none of class 1: add"
    )
    with self.assertRaisesRegex(errors.InputError, words):
      centroids.check("l2", point_clouds.images(), tools, "trusted")

  def test_another_source(self):
    with self.assertRaisesRegex(errors.InputError, "of 'true': use one of data, trusted"):
      centroids.check("l2", point_clouds.images(), point_clouds.tools(), "true")


if __name__ == "__main__":
  absltest.main()
