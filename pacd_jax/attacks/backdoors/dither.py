"""Dithering: an image keeps a few levels, and the pixels around make up for the rest."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import types

METHODS = ("floyd_steinberg", "ordered")


def dither(images: types.Array, *, bits: int, method: str) -> types.Array:
  """Images of L + 1 levels, L = 2^bits - 1, whose mean brightness stays about the same.

  BppAttack, Wang et al. (2022), https://arxiv.org/abs/2205.13383: the trigger depends on
  the image, is hardly seen, and needs no encoder. An image that has these levels alone
  stays as it is.

  Args:
    images: float32 `[B, H, W, C]` in [0, 1].
    bits: from 1 to 8; theirs is 3.
    method: one of `METHODS`: `floyd_steinberg`, as theirs, or `ordered`.
  """
  chex.assert_rank(images, 4)
  levels = 2.0**bits - 1.0
  scaled = levels * images
  found = _diffused(scaled, levels) if method == "floyd_steinberg" else _ordered(scaled)
  return jnp.clip(found, 0.0, levels) / levels


def _diffused(scaled: types.Array, levels: float) -> types.Array:
  """Error diffusion, Floyd and Steinberg (1976), from left to right, row by row.

  Each pixel is rounded; 7/16 of its error go to the right, 3/16, 5/16 and 1/16 to the three
  pixels below.
  """
  images, _, width, channels = scaled.shape
  zero = jnp.zeros((images, channels), scaled.dtype)

  def row(above, values):  # `above` `[W, B, C]`: errors from the row before.
    def pixel(carry, given):
      from_left, left_below, below = carry
      value, from_above = given
      wanted = value + from_above + from_left
      level = jnp.clip(jnp.floor(wanted + 0.5), 0.0, levels)
      error = (wanted - level) / 16.0
      # Errors of the next row: that of the pixel before this one is now complete.
      carry = (7.0 * error, below + 5.0 * error, error)
      return carry, (level, left_below + 3.0 * error)

    start = (zero, zero, zero)
    (_, last, _), (found, below) = jax.lax.scan(pixel, start, (values, above))
    return jnp.concatenate([below[1:], last[None]]), found

  by_row = jnp.moveaxis(scaled, 0, 2)  # `[H, W, B, C]`
  start = jnp.zeros((width, images, channels), scaled.dtype)
  _, found = jax.lax.scan(row, start, by_row)
  return jnp.moveaxis(found, 2, 0)


def _ordered(scaled: types.Array) -> types.Array:
  """floor(x + t) with the thresholds t of a Bayer matrix, 4x4, in (0, 1)."""
  two = np.array([[0, 2], [3, 1]])
  four = np.block([[4 * two, 4 * two + 2], [4 * two + 3, 4 * two + 1]])
  thresholds = ((four + 0.5) / 16.0).astype(np.float32)
  _, height, width, _ = scaled.shape
  tiled = np.tile(thresholds, (-(-height // 4), -(-width // 4)))[:height, :width]
  return jnp.floor(scaled + tiled[None, :, :, None])
