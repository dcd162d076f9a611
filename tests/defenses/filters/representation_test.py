"""What filters look at: pixels, or features of a model that was trained on the set."""

import types as python

import jax
import numpy as np
import point_clouds
from absl.testing import absltest

from pacd_jax import errors
from pacd_jax.defenses.filters import representation


class RepresentationTest(absltest.TestCase):
  def _make(self, of, **tools):
    key = jax.random.key(3)
    tools = point_clouds.tools(**tools)
    return representation.make("svd", point_clouds.images(), key, tools, of=of)

  def test_pixels(self):
    images = point_clouds.images().images
    found = self._make("pixels")(images)
    np.testing.assert_array_equal(found, (images / np.float32(255)).reshape(-1, 6))
    self.assertEqual(found.dtype, np.float32)

  def test_features_are_of_a_model_trained_on_the_very_set(self):
    model = python.SimpleNamespace(
      features=lambda params, images: images.reshape(len(images), -1) @ params
    )
    params = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    trained_on = []

    def train(training_set, key):
      trained_on.append((training_set, jax.random.key_data(key).tolist()))
      return params

    given = point_clouds.images()
    represent = self._make("features", model=model, train=train)
    found = represent(given.images)
    ((training_set, key),) = trained_on
    jax.tree.map(np.testing.assert_array_equal, training_set, given)
    self.assertEqual(key, jax.random.key_data(jax.random.key(3)).tolist())
    expected = (given.images / np.float32(255)).reshape(-1, 6) @ params
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

  def test_a_model_without_features(self):
    model = python.SimpleNamespace(features=None)
    words = (
      "'svd' is to look at features, but .* shows none: use of=\"pixels\", in a config"
    )
    with self.assertRaisesRegex(errors.InputError, words):
      self._make("features", model=model)

  def test_another_representation(self):
    with self.assertRaisesRegex(errors.InputError, "'logits': use one of pixels, features"):
      self._make("logits")


class InBatchesTest(absltest.TestCase):
  def test_one_program_for_batches_of_one_size(self):
    shapes = []

    def scale(params, images):
      shapes.append(images.shape)
      return params * images.sum(axis=(1, 2, 3))

    images = point_clouds.images().images
    expected = 2 * (images / np.float32(255)).sum(axis=(1, 2, 3))
    for batch_size, shape in ((32, (32, 2, 3, 1)), (1000, images.shape)):
      shapes.clear()
      found = representation.in_batches(scale, 2.0, images, batch_size=batch_size)
      np.testing.assert_allclose(found, expected, rtol=1e-5)
      self.assertEqual(shapes, [shape])


if __name__ == "__main__":
  absltest.main()
