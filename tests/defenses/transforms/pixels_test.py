"""Grayscale, bit depth and blur against what defines them."""

import functools

import jax
import numpy as np
import scipy.ndimage
from absl.testing import absltest, parameterized
from PIL import Image

from pacd_jax import types
from pacd_jax.defenses.transforms import bit_depth, blur, forms, grayscale


def _images(channels):
  generator = np.random.default_rng(channels)
  return generator.integers(0, 256, (5, 9, 7, channels)).astype(np.uint8)


def _levels(transform, images):
  return forms.on_uint8(transform, images)


class GrayscaleTest(parameterized.TestCase):
  def test_it_is_pillows_and_idempotent(self):
    images = _images(3)
    grey = _levels(grayscale.grayscale, images)
    for image, found in zip(images, grey, strict=True):
      wanted = np.asarray(Image.fromarray(image).convert("L")).astype(int)
      self.assertLessEqual(np.abs(found - wanted[..., None]).max(), 1)
    np.testing.assert_array_equal(grey, np.repeat(grey[..., :1], 3, axis=-1))
    np.testing.assert_array_equal(_levels(grayscale.grayscale, grey), grey)

  @parameterized.parameters(1, 3)
  def test_one_channel_is_noted_and_not_changed(self, channels):
    images = _images(channels)
    before = types.TrainingSet(images, np.zeros(5, np.int32), np.arange(5))
    after, report = grayscale.of_training_set(before, jax.random.key(0), None)
    self.assertEqual(report.values, {"one_channel": float(channels == 1)})
    self.assertEqual(np.array_equal(after.images, images), channels == 1)


class BitDepthTest(parameterized.TestCase):
  def test_eight_bits_are_the_identity(self):
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    found = _levels(functools.partial(bit_depth.bit_depth, bits=8), every)
    np.testing.assert_array_equal(found, every)

  @parameterized.parameters((1, [0, 255]), (2, [0, 85, 170, 255]))
  def test_the_levels_are_the_nearest(self, bits, levels):
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    found = _levels(functools.partial(bit_depth.bit_depth, bits=bits), every)
    distances = np.abs(np.array(levels)[:, None] - np.arange(256)[None])
    np.testing.assert_array_equal(found.ravel(), np.array(levels)[distances.argmin(axis=0)])


class BlurTest(parameterized.TestCase):
  @parameterized.parameters(1e-300, 0.1)
  def test_a_small_sigma_is_the_identity(self, sigma):
    """0.1 is what APBench has under the name of a Gaussian blur."""
    images = _images(3)
    found = _levels(functools.partial(blur.blur, sigma=sigma), images)
    np.testing.assert_array_equal(found, images)
    self.assertLess(blur.kernel(sigma)[0], 1e-21)

  def test_a_constant_image_is_not_changed(self):
    images = np.full((1, 5, 4, 1), 201, np.uint8)
    found = _levels(functools.partial(blur.blur, sigma=10.0), images)
    np.testing.assert_array_equal(found, images)

  @parameterized.parameters(0.5, 1.0, 2.5)
  def test_it_is_scipys(self, sigma):
    images = _images(1) / np.float32(255.0)
    found = blur.blur(images, sigma=sigma)
    radius = len(blur.kernel(sigma)) // 2
    for image, blurred in zip(images[..., 0], found[..., 0], strict=True):
      wanted = scipy.ndimage.gaussian_filter(image, sigma, mode="nearest", radius=radius)
      np.testing.assert_allclose(blurred, wanted, atol=1e-6)


if __name__ == "__main__":
  absltest.main()
