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
  batch, height, width, channels = images.shape
  offset_key, flip_key = jax.random.split(key)
  offsets = jax.random.randint(offset_key, (batch, 2), 0, 2 * pad + 1)
  flips = jax.random.bernoulli(flip_key, shape=(batch, 1, 1, 1))
  padded = jnp.pad(images, [(0, 0), (pad, pad), (pad, pad), (0, 0)])

  def crop(image, offset):
    start = offset[0], offset[1], 0
    return jax.lax.dynamic_slice(image, start, (height, width, channels))

  cropped = jax.vmap(crop)(padded, offsets)
  return jnp.where(flips, cropped[:, :, ::-1], cropped)


def flip(key: types.Key, images: types.Array) -> types.Array:
  """Mirrors each of the images `[B, H, W, C]` with chance 1/2; the key is consumed."""
  chex.assert_rank(images, 4)
  flips = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
  return jnp.where(flips, images[:, :, ::-1], images)
