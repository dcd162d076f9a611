"""JPEG in JAX against Pillow's, which is the definition here."""

import functools

import jax
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.defenses.transforms import forms, jpeg, jpeg_codec
from pacd_jax.experiment.entries import data_sets


def _noise(height, width, channels):
  generator = np.random.default_rng(height)
  return generator.integers(0, 256, (8, height, width, channels)).astype(np.uint8)


def _gradient(channels):
  rows, columns = np.mgrid[:32, :40]
  planes = np.stack([6 * columns, 7 * rows, 3 * (rows + columns)], axis=-1)
  return planes[None, ..., :channels].clip(0, 255).astype(np.uint8)


class JpegTest(parameterized.TestCase):
  @parameterized.parameters(
    ("digits", 10),
    ("digits", 75),
    ((8, 8, 1), 50),
    ((13, 21, 1), 10),
    ((5, 7, 3), 10),
    ((16, 32, 3), 10),
    ((17, 9, 3), 75),
    (1, 10),
    (3, 10),
    (3, 95),
  )
  def test_it_is_pillows(self, images, quality):
    """To the level with libjpeg-turbo 3, and to 2 levels with a libjpeg that differs."""
    if images == "digits":
      images = data_sets.load("digits").test.images
    else:
      images = _noise(*images) if isinstance(images, tuple) else _gradient(images)
    found = forms.on_uint8(functools.partial(jpeg.jpeg, quality=quality), images)
    wanted = jpeg.by_pillow(images, quality=quality)
    self.assertFalse(np.array_equal(wanted, images))
    difference = np.abs(found.astype(int) - wanted)
    self.assertLessEqual(np.quantile(difference, 0.99), 2)
    self.assertLess(difference.mean(), 0.05)

  def test_noise_outside_of_the_box_is_cut(self):
    images = _noise(8, 8, 1) / np.float32(255.0)
    noisy = images + np.random.default_rng(0).standard_normal(images.shape, np.float32)
    transform = jax.jit(functools.partial(jpeg.jpeg, quality=10))
    np.testing.assert_array_equal(transform(noisy), transform(noisy.clip(0, 1)))
    self.assertTrue(((noisy < 0) | (noisy > 1)).any())

  def test_a_better_quality_changes_less(self):
    images = data_sets.load("digits").test.images
    changes = [
      np.abs(jpeg.by_pillow(images, quality=quality).astype(float) - images).mean()
      for quality in (10, 50, 95)
    ]
    self.assertGreater(changes[0], 2 * changes[1])
    self.assertGreater(changes[1], 2 * changes[2])

  def test_steps_of_known_qualities(self):
    """50 is the standard's own table, 100 has none."""
    self.assertEqual(jpeg_codec.table(50)[0].tolist(), [16, 11, 10, 16, 24, 40, 51, 61])
    self.assertEqual(jpeg_codec.table(10)[0, 0], 80)
    self.assertEqual(jpeg_codec.table(10, chroma=True)[-1, -1], 255)
    np.testing.assert_array_equal(jpeg_codec.table(100), np.ones((8, 8)))

  def test_other_channels(self):
    with self.assertRaisesRegex(errors.InputError, "1 or 3 channels"):
      jpeg.by_pillow(_noise(8, 8, 2), quality=10)
    with self.assertRaisesRegex(errors.InputError, "1 or 3 channels"):
      jpeg.jpeg(_noise(8, 8, 2) / np.float32(255.0), quality=10)


if __name__ == "__main__":
  absltest.main()
