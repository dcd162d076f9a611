"""JPEG: Pillow's for training images, and its lossy part in JAX inside a classifier.

Image shortcut squeezing, Liu et al. (2023), https://arxiv.org/abs/2301.13838: quality 10.
"""

import io

import chex
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from pacd_jax import errors, types
from pacd_jax.defenses.transforms import forms, jpeg_codec


def of_training_set(
  training_set: types.TrainingSet, key: types.Key, tools: types.Tools, *, quality: int
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Training images through Pillow's JPEG, each alone, uint8; a `types.DefenceFn`.

  The result is a function of the images and of the version of Pillow's library.
  """
  del key, tools
  return forms.changed(training_set, lambda images: by_pillow(images, quality=quality))


def by_pillow(images: np.ndarray, *, quality: int) -> np.ndarray:
  """Each image written as JPEG and read again: uint8 `[n, H, W, C]`, C = 1 or 3.

  Raises:
    errors.InputError: the images have another number of channels.
  """
  _check_channels(images.shape[-1])
  found = np.empty_like(images)
  for number, image in enumerate(images):
    file = io.BytesIO()
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture.save(file, "JPEG", quality=quality, optimize=True)
    with Image.open(file) as again:
      found[number] = np.asarray(again).reshape(image.shape)
  return found


def jpeg(images: types.Array, *, quality: int) -> types.Array:
  """What JPEG leaves of images, as Pillow writes and reads it; a `types.TransformFn`.

  Noisy images are cut to [0, 1] and rounded to 8 bits first. Colour images become YCbCr
  with the chroma of 2x2 pixels averaged (4:2:0); blocks of 8x8 pixels, at the edges
  continued by the last pixel, are rounded to multiples of the quality's tables in the
  frequencies of the DCT; chroma is interpolated again.

  Derivatives pass straight through all rounding, and through the decoder's cut to [0, 1].
  What is left is 0 for pixels outside of [0, 1], the averaging of the chroma of a colour
  image, and otherwise the identity.

  Args:
    images: float32 `[B, H, W, C]`, C = 1 or 3.
    quality: from 1 to 95, as Pillow's.

  Raises:
    errors.InputError: the images have another number of channels.
  """
  chex.assert_rank(images, 4)
  _check_channels(images.shape[-1])
  inside = forms.in_box(images)
  levels = jnp.rint(255.0 * jax.lax.stop_gradient(inside)).astype(jnp.int32)
  value = jpeg_codec.coded(levels, quality=quality).astype(jnp.float32) / 255.0
  return forms.through(_smooth(inside) if images.shape[-1] == 3 else inside, value)


def _check_channels(channels: int) -> None:
  if channels not in (1, 3):
    raise errors.InputError(
      f"JPEG takes images of 1 or 3 channels, and these have {channels}: take jpeg out"
    )


def _smooth(images: types.Array) -> types.Array:
  """Colour images with the chroma of 2x2 pixels averaged, and nothing rounded."""
  red, green, blue = (images[..., channel] for channel in range(3))
  luma = 0.299 * red + 0.587 * green + 0.114 * blue
  redness, blueness = _averaged(red - luma), _averaged(blue - luma)
  greenness = -(0.299 * redness + 0.114 * blueness) / 0.587
  return jnp.stack([luma + each for each in (redness, greenness, blueness)], axis=-1)


def _averaged(plane: types.Array) -> types.Array:
  batch, height, width = plane.shape
  padded = jnp.pad(plane, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
  half = padded.reshape(batch, padded.shape[1] // 2, 2, padded.shape[2] // 2, 2)
  means = half.mean(axis=(2, 4))
  return jnp.repeat(jnp.repeat(means, 2, axis=1), 2, axis=2)[:, :height, :width]
