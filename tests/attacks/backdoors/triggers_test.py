"""Triggers against their definitions: which pixels change, and to what."""

import jax
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.attacks.backdoors import blend, dither, patch, sinusoid, warp


def _images(shape=(3, 8, 6, 2), seed=0):
  return np.random.default_rng(seed).uniform(0, 1, shape).astype(np.float32)


class PatchTest(parameterized.TestCase):
  @parameterized.parameters(
    ("bottom_right", [(7, 5)]),
    ("bottom_left", [(7, 0)]),
    ("top_right", [(0, 5)]),
    ("top_left", [(0, 0)]),
    ("all", [(0, 0), (0, 5), (7, 0), (7, 5)]),
  )
  def test_a_single_pixel_in_its_corner(self, corner, expected):
    images = _images()
    found = np.asarray(patch.patch(images, size=1, corner=corner, value=0.25))
    changed = (found != images).any(axis=(0, 3))
    self.assertEqual([tuple(each) for each in np.argwhere(changed)], expected)
    np.testing.assert_array_equal(found[:, changed], 0.25)

  @parameterized.parameters(
    ("square", 0, 9), ("checkered", 0, 5), ("square", 1, 9), ("checkered", 1, 5)
  )
  def test_only_pixels_of_the_mask_change_and_twice_is_as_once(
    self, pattern, margin, number
  ):
    images, own = _images(), {"pattern": pattern, "margin": margin}
    there = patch.mask(8, 6, size=3, corner="bottom_right", **own)
    self.assertEqual(there.sum(), number)
    self.assertEqual(np.argwhere(there).max(axis=0).tolist(), [7 - margin, 5 - margin])
    once = patch.patch(images, **own)
    np.testing.assert_array_equal(once[:, ~there], images[:, ~there])
    np.testing.assert_array_equal(once[:, there], 1.0)
    np.testing.assert_array_equal(patch.patch(once, **own), once)

  @parameterized.parameters(
    (7, 0, "7 pixels on a side, 0 from the border of an image of 8x6: use size at most 6"),
    (3, 2, "use size at most 2"),
    (1, 3, "use a smaller margin"),
  )
  def test_a_patch_outside_the_image(self, size, margin, message):
    with self.assertRaisesRegex(errors.InputError, message):
      patch.check(8, 6, size=size, margin=margin)

  def test_a_patch_as_large_as_the_image(self):
    patch.check(8, 6, size=6, margin=0)
    self.assertEqual(patch.patch(_images((1, 6, 6, 1)), size=6).min(), 1.0)


class BlendTest(parameterized.TestCase):
  def test_between_the_image_and_the_target(self):
    images, target = _images(), _images()[0][::-1]
    np.testing.assert_array_equal(blend.blend(images, target, opacity=0.0), images)
    whole = blend.blend(images, target, opacity=1.0)
    np.testing.assert_array_equal(whole, np.broadcast_to(target, images.shape))
    found = np.asarray(blend.blend(images, target, opacity=0.2))
    np.testing.assert_allclose((found - 0.2 * target[None]) / 0.8, images, atol=1e-6)

  def test_random_pixels_are_those_of_the_seed(self):
    one, same, other = (blend.random_target(seed, (4, 5, 3)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    self.assertTrue((one != other).any())

  def test_pixels_come_back_from_text(self):
    target = blend.random_target(3, (4, 5, 3))
    text = blend.target_as_text(target)
    np.testing.assert_array_equal(blend.target_of_text(text, (4, 5, 3)), target)
    for shape in ((4, 5, 1), (4, 6, 3)):
      with self.assertRaisesRegex(errors.InputError, "give one of that size"):
        blend.target_of_text(text, shape)
    for wrong in ("no", text[:-8], "ä"):
      with self.assertRaisesRegex(errors.InputError, "image of a trigger"):
        blend.target_of_text(wrong, (4, 5, 3))


class SinusoidTest(absltest.TestCase):
  def test_by_its_formula(self):
    images = np.full((1, 3, 12, 1), 0.5, np.float32)
    found = np.asarray(sinusoid.sinusoid(images, delta=0.1, frequency=3))
    wave = [0.5 + 0.1 * np.sin(2 * np.pi * j * 3 / 12) for j in range(12)]
    for row in found[0, :, :, 0]:
      np.testing.assert_allclose(row, wave, atol=1e-6)

  def test_stays_in_the_box(self):
    found = np.asarray(sinusoid.sinusoid(_images(), delta=0.9, frequency=2))
    self.assertEqual((found.min(), found.max()), (0.0, 1.0))

  def test_a_wave_that_no_pixel_shows(self):
    for frequency in (6.0, 12.0):
      with self.assertRaisesRegex(errors.InputError, "half the width 12, .*less than 6"):
        sinusoid.check(12, frequency=frequency)
    sinusoid.check(12, frequency=5.5)

  def test_above_half_the_width_another_frequency_is_seen(self):
    images = np.full((1, 3, 8, 1), 0.5, np.float32)
    one, other = (sinusoid.sinusoid(images, delta=0.1, frequency=f) for f in (6, 2))
    np.testing.assert_allclose(one - 0.5, 0.5 - other, atol=1e-6)


class WarpTest(parameterized.TestCase):
  def test_without_strength_it_is_the_identity(self):
    images = _images()
    field = warp.smooth_field(8, 6, control=4, strength=0.0, seed=0)
    np.testing.assert_array_equal(warp.warp(images, field), images)

  def test_whole_pixels_are_a_shift(self):
    images = _images()
    field = np.stack([np.full((8, 6), 2.0), np.full((8, 6), -1.0)]).astype(np.float32)
    rows = np.clip(np.arange(8) + 2, 0, 7)
    columns = np.clip(np.arange(6) - 1, 0, 5)
    expected = images[:, rows][:, :, columns]
    np.testing.assert_allclose(warp.warp(images, field), expected, atol=1e-6)

  def test_half_a_pixel_is_the_mean_of_two(self):
    images = _images((1, 4, 4, 1))
    field = np.zeros((2, 4, 4), np.float32)
    field[1] = 0.5
    found = np.asarray(warp.warp(images, field))[0, :, :3, 0]
    means = (images[0, :, :3, 0] + images[0, :, 1:, 0]) / 2
    np.testing.assert_allclose(found, means, atol=1e-6)

  def test_corners_of_the_field_are_those_of_the_random_grid(self):
    """`align_corners`: the first and last places are control points."""
    values = np.random.default_rng(5).uniform(-1.0, 1.0, (2, 4, 4))
    values /= np.abs(values).mean()
    field = warp.smooth_field(9, 7, control=4, strength=0.5, seed=5)
    corners = values[:, ::3, ::3]
    expected = 0.5 * corners * np.array([8 / 18, 6 / 14])[:, None, None]
    np.testing.assert_allclose(field[:, ::8, ::6], expected, atol=1e-6)

  def test_fields_are_of_one_size(self):
    """mean |v| is 1 at the control points, which all are at that resolution."""
    field = warp.smooth_field(5, 5, control=5, strength=0.5, seed=1)
    np.testing.assert_allclose(np.abs(field).mean(), 0.5 * 4 / 10, rtol=1e-5)

  def test_upsampling_keeps_constants_and_is_pytorchs_kernel(self):
    matrix = warp._upsampling(4, 10)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)
    # At a third of the way from place 1 to 2: Keys' kernel with a = -3/4.
    weights = [warp._cubic(np.array(d)) for d in (4 / 3, 1 / 3, 2 / 3, 5 / 3)]
    np.testing.assert_allclose(matrix[4], weights, atol=1e-12)
    np.testing.assert_allclose(warp._cubic(np.array(0.5)), 0.59375)
    np.testing.assert_allclose(warp._cubic(np.array(1.5)), -0.09375)


def _floyd_steinberg(image, levels):
  """Of one channel `[H, W]`, pixel by pixel."""
  wanted, found = image.astype(np.float64) * levels, np.zeros(image.shape)
  height, width = image.shape
  for i in range(height):
    for j in range(width):
      found[i, j] = np.clip(np.floor(wanted[i, j] + 0.5), 0, levels)
      error = wanted[i, j] - found[i, j]
      for di, dj, share in ((0, 1, 7), (1, -1, 3), (1, 0, 5), (1, 1, 1)):
        if i + di < height and 0 <= j + dj < width:
          wanted[i + di, j + dj] += error * share / 16
  return found / levels


class DitherTest(parameterized.TestCase):
  @parameterized.parameters(1, 3)
  def test_errors_are_diffused_as_pixel_by_pixel(self, bits):
    images = _images((2, 5, 4, 2))
    found = np.asarray(dither.dither(images, bits=bits, method="floyd_steinberg"))
    for image, given in zip(found, images, strict=True):
      for channel in range(2):
        expected = _floyd_steinberg(given[..., channel], 2**bits - 1)
        np.testing.assert_allclose(image[..., channel], expected, atol=1e-6)

  @parameterized.product(method=dither.METHODS, bits=(1, 2, 3))
  def test_few_levels_with_the_same_mean_and_twice_is_as_once(self, method, bits):
    images = np.full((1, 8, 8, 1), 0.3, np.float32)
    dithered = jax.jit(lambda x: dither.dither(x, bits=bits, method=method))
    found = np.asarray(dithered(images))
    levels = found * (2**bits - 1)
    np.testing.assert_allclose(levels, levels.round(), atol=1e-6)
    self.assertAlmostEqual(found.mean(), 0.3, delta=0.06)
    np.testing.assert_allclose(dithered(found), found, atol=1e-6)

  def test_an_ordered_one_has_each_threshold_once(self):
    """Of a flat image, k of 16 pixels are bright at brightness k / 16."""
    for k in range(17):
      flat = np.full((1, 4, 4, 1), k / 16, np.float32)
      found = np.asarray(dither.dither(flat, bits=1, method="ordered"))
      self.assertEqual(found.sum(), k)


if __name__ == "__main__":
  absltest.main()
