"""The blended image: one image shines faintly through all others."""

import base64
import binascii
import zlib

import chex
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types


def blend(images: types.Array, target: types.Array, *, opacity: float) -> types.Array:
  """x' = (1 - a) x + a t, with a the opacity.

  Chen et al. (2017), https://arxiv.org/abs/1712.05526, whose t is a picture, or noise.

  Args:
    images: float32 `[B, H, W, C]` in [0, 1].
    target: t, float32 `[H, W, C]` in [0, 1].
    opacity: a, in [0, 1]; at 0 nothing changes, at 1 every image is t.
  """
  chex.assert_rank([images, target], [4, 3])
  return (1.0 - opacity) * images + opacity * jnp.asarray(target)[None]


def random_target(seed: int, image_shape: tuple[int, int, int]) -> np.ndarray:
  """An image of uniform noise, uint8 `[H, W, C]`, by the seed."""
  return np.random.default_rng(seed).integers(0, 256, image_shape, dtype=np.uint8)


def target_as_text(target: np.ndarray) -> str:
  """The values of an image uint8 `[H, W, C]` as text, without its shape."""
  packed = zlib.compress(np.ascontiguousarray(target, np.uint8).tobytes(), 9)
  return base64.b64encode(packed).decode("ascii")


def target_of_text(text: str, image_shape: tuple[int, int, int]) -> np.ndarray:
  """The image of such a text, uint8 `[H, W, C]`.

  Raises:
    errors.InputError: it is none, or of an image of another size.
  """
  size = int(np.prod(image_shape))
  try:
    unpacked = zlib.decompressobj().decompress(
      base64.b64decode(text, validate=True), size + 1
    )
  except (binascii.Error, zlib.error, ValueError):
    raise errors.InputError("the image of a trigger is no text of one") from None
  if len(unpacked) != size:
    shape = "x".join(map(str, image_shape))
    raise errors.InputError(
      f"the image of a trigger has not {size} values, as the data's of {shape} have: give "
      "one of that size"
    )
  return np.frombuffer(unpacked, np.uint8).reshape(image_shape)
