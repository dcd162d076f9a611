"""Random crops, flips and boxes, against their definitions by NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax.models import augment


class CropAndFlipTest(absltest.TestCase):
  def test_every_image_is_a_window_of_its_padded_self(self):
    images = np.arange(1, 1 + 300 * 5 * 6 * 2, dtype=np.float32).reshape(300, 5, 6, 2)
    changed = np.asarray(augment.crop_and_flip(jax.random.key(0), images, pad=2))
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)])
    seen = set()
    for image, result in zip(padded, changed, strict=True):
      matches = [
        (i, j, flip)
        for i in range(5)
        for j in range(5)
        for flip in (False, True)
        if np.array_equal(result[:, ::-1] if flip else result, image[i : i + 5, j : j + 6])
      ]
      self.assertLen(matches, 1)
      seen.add(matches[0])
    self.assertGreater(len(seen), 45)  # Of 50 offsets and flips.

  def test_linear_and_fixed_by_its_key(self):
    x, y = (jax.random.normal(jax.random.key(i), (4, 8, 8, 1)) for i in (1, 2))
    key = jax.random.key(3)

    def change(images):
      return augment.crop_and_flip(jax.random.clone(key), images)

    np.testing.assert_allclose(change(x + 2 * y), change(x) + 2 * change(y), rtol=1e-5)
    # Its transpose by autodiff: <A x, A y> = <x, A' A y>.
    pulled = jax.vjp(change, x)[1](change(y))[0]
    np.testing.assert_allclose(
      jnp.vdot(change(x), change(y)), jnp.vdot(x, pulled), rtol=1e-5
    )


class CropTest(absltest.TestCase):
  def test_every_image_is_an_unflipped_window_of_its_padded_self(self):
    images = np.arange(1, 1 + 200 * 4 * 4, dtype=np.float32).reshape(200, 4, 4, 1)
    changed = np.asarray(augment.crop(jax.random.key(0), images, pad=1))
    padded, seen = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)]), set()
    for image, result in zip(padded, changed, strict=True):
      (place,) = (
        (i, j)
        for i in range(3)
        for j in range(3)
        if np.array_equal(result, image[i : i + 4, j : j + 4])
      )
      seen.add(place)
    self.assertLen(seen, 9)


class FlipTest(absltest.TestCase):
  def test_half_of_the_images_are_mirrored(self):
    images = np.arange(400 * 3 * 4 * 2, dtype=np.float32).reshape(400, 3, 4, 2)
    changed = np.asarray(augment.flip(jax.random.key(0), images))
    mirrored = (changed == images[:, :, ::-1]).all(axis=(1, 2, 3))
    same = (changed == images).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(mirrored, ~same)
    self.assertBetween(int(mirrored.sum()), 160, 240)  # Four standard deviations of 200.


class CutoutTest(parameterized.TestCase):
  @parameterized.parameters(1, 2, 3, 5)
  def test_each_image_loses_a_box_of_its_own(self, size):
    images = np.random.default_rng(0).uniform(0.1, 1.0, (400, 7, 6, 2))
    images = images.astype(np.float32)
    changed = np.asarray(augment.cutout(jax.random.key(0), images, size=size))
    boxes = set()
    for image, result in zip(images, changed, strict=True):
      is_cut = (result == 0.0).all(axis=-1)
      np.testing.assert_array_equal(result[~is_cut], image[~is_cut])
      rows, columns = (np.flatnonzero(is_cut.any(axis=axis)) for axis in (1, 0))
      self.assertTrue(is_cut[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all())
      self.assertBetween(int(is_cut.sum()), 1, size**2)
      boxes.add((rows[0], rows[-1], columns[0], columns[-1]))
    self.assertLen(boxes, 42)  # One around each pixel.


if __name__ == "__main__":
  absltest.main()
