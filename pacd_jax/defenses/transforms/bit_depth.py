"""Reduced bit depth: pixel values are rounded to a few levels."""

import chex

from pacd_jax import types
from pacd_jax.defenses.transforms import forms


def bit_depth(images: types.Array, *, bits: int) -> types.Array:
  """round(L x) / L with L = 2^bits - 1; a `types.TransformFn`.

  Feature squeezing, Xu et al. (2018), https://arxiv.org/abs/1704.01155; Liu et al. (2023),
  https://arxiv.org/abs/2301.13838, use 2 bits against poisons. Noisy images are cut to
  [0, 1] first. The derivative passes straight through the rounding: it is 1 in [0, 1] and 0
  outside. With 8 bits, uint8 images are not changed.

  Args:
    images: float32 `[B, H, W, C]`.
    bits: from 1 to 8.
  """
  chex.assert_rank(images, 4)
  levels = 2.0**bits - 1.0
  return forms.rounded(levels * forms.in_box(images)) / levels
