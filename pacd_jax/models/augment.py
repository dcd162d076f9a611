"""Random augmentation of training images in the compiled step, differentiable in them."""

import chex
import jax
import jax.numpy as jnp

from pacd_jax import types


def crop_and_flip(key: types.Key, images: types.Array, *, pad: int = 4) -> types.Array:
  """Pads images with `pad` black pixels, crops them at random, flips each with chance 1/2.

  It is the usual augmentation of CIFAR-10 (He et al., 2015, section 4.2). Offsets in
  [0, 2 pad] and flips are drawn per image.

  Args:
    key: consumed.
    images: `[B, H, W, C]`.
    pad: pixels on each side.

  Returns:
    `[B, H, W, C]`; linear in the images.
  """
  chex.assert_rank(images, 4)
  offset_key, flip_key = jax.random.split(key)
  flips = jax.random.bernoulli(flip_key, shape=(len(images), 1, 1, 1))
  cropped = crop(offset_key, images, pad=pad)
  return jnp.where(flips, cropped[:, :, ::-1], cropped)


def crop(key: types.Key, images: types.Array, *, pad: int = 2) -> types.Array:
  """The same without flips, for images that are not symmetric, such as digits."""
  chex.assert_rank(images, 4)
  batch, height, width, channels = images.shape
  offsets = jax.random.randint(key, (batch, 2), 0, 2 * pad + 1)
  padded = jnp.pad(images, [(0, 0), (pad, pad), (pad, pad), (0, 0)])

  def at(image, offset):
    start = offset[0], offset[1], 0
    return jax.lax.dynamic_slice(image, start, (height, width, channels))

  return jax.vmap(at)(padded, offsets)


def flip(key: types.Key, images: types.Array) -> types.Array:
  """Mirrors each of the images `[B, H, W, C]` with chance 1/2; the key is consumed."""
  chex.assert_rank(images, 4)
  flips = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
  return jnp.where(flips, images[:, :, ::-1], images)


def cutout(key: types.Key, images: types.Array, *, size: int = 16) -> types.Array:
  """Blackens a box of each image: Cutout of DeVries and Taylor (2017).

  https://arxiv.org/abs/1708.04552. Each image has a box of its own, of `size` pixels a side
  around a uniform pixel, which is cut at the image's border. The paper's images have mean
  0, so that its boxes are grey.

  Args:
    key: consumed.
    images: `[B, H, W, C]`.
    size: L; at most L^2 pixels change.

  Returns:
    `[B, H, W, C]`; linear in the images.
  """
  chex.assert_rank(images, 4)
  batch, height, width, _ = images.shape

  def within(key, length):
    start = jax.random.randint(key, (batch, 1), 0, length) - size // 2
    pixels = jnp.arange(length)[None]
    return (pixels >= start) & (pixels < start + size)

  row_key, column_key = jax.random.split(key)
  rows, columns = within(row_key, height), within(column_key, width)
  is_cut = rows[:, :, None, None] & columns[:, None, :, None]
  return jnp.where(is_cut, 0.0, images)
