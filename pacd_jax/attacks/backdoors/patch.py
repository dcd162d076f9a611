"""The patch: a few pixels in corners take a fixed value (BadNets)."""

import chex
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types

CORNERS = ("bottom_right", "bottom_left", "top_right", "top_left", "all")
PATTERNS = ("square", "checkered")


def patch(
  images: types.Array,
  *,
  pattern: str = "square",
  size: int = 3,
  corner: str = "bottom_right",
  margin: int = 0,
  value: float = 1.0,
) -> types.Array:
  """x'_ij = value where m_ij = 1, else x_ij.

  BadNets, Gu et al. (2017), https://arxiv.org/abs/1708.06733; with size 1 their single
  pixel, with a checkered pattern the other one. Applied twice, it is as once.

  Args:
    images: float32 `[B, H, W, C]` in [0, 1].
    pattern, size, corner, margin: of m: see `mask`.
    value: in [0, 1], of all channels.
  """
  chex.assert_rank(images, 4)
  _, height, width, _ = images.shape
  there = mask(height, width, pattern=pattern, size=size, corner=corner, margin=margin)
  return jnp.where(there[..., None], jnp.asarray(value, images.dtype), images)


def mask(
  height: int, width: int, *, pattern: str, size: int, corner: str, margin: int
) -> np.ndarray:
  """The pixels of a patch: bool `[H, W]`.

  Args:
    height, width: of the image.
    pattern: "square", or "checkered": every second pixel of it, corners among them.
    size: pixels on a side.
    corner: one of `CORNERS`; "all": one patch in each.
    margin: pixels between the patch and the image's border.
  """
  square = np.ones((size, size), bool)
  if pattern == "checkered":
    square = np.indices((size, size)).sum(axis=0) % 2 == 0
  there = np.zeros((height, width), bool)
  inside = there[margin : height - margin, margin : width - margin]
  for name in CORNERS[:-1] if corner == "all" else (corner,):
    rows = slice(size) if name.startswith("top") else slice(-size, None)
    columns = slice(size) if name.endswith("left") else slice(-size, None)
    inside[rows, columns] |= square
  return there


def check(height: int, width: int, *, size: int, margin: int) -> None:
  """Raises `errors.InputError` unless a patch lies within the image."""
  most = min(height, width) - 2 * margin
  if size > most:
    room = f"size at most {most}" if most > 0 else "a smaller margin"
    raise errors.InputError(
      f"the trigger has {size} pixels on a side, {margin} from the border of an image of "
      f"{height}x{width}: use {room}"
    )
