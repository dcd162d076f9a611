"""Grayscale: every colour image becomes grey, with as many channels as before."""

import chex
import jax.numpy as jnp

from pacd_jax import types
from pacd_jax.defenses.transforms import forms

_LUMA = (0.299, 0.587, 0.114)  # Of ITU-R BT.601, as Pillow's.


def grayscale(images: types.Array) -> types.Array:
  """0.299 R + 0.587 G + 0.114 B in all three channels; a `types.TransformFn`.

  One of the two transforms of image shortcut squeezing, Liu et al. (2023),
  https://arxiv.org/abs/2301.13838. It is linear, idempotent, and does not clip noisy
  images. Images of any other number of channels than three are returned as they are.

  Args:
    images: float32 `[B, H, W, C]`.
  """
  chex.assert_rank(images, 4)
  if images.shape[-1] != len(_LUMA):
    return images
  grey = sum(
    weight * images[..., channel : channel + 1] for channel, weight in enumerate(_LUMA)
  )
  return jnp.broadcast_to(grey, images.shape)


def of_training_set(
  training_set: types.TrainingSet, key: types.Key, tools: types.Tools
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Grey training images, uint8; a `types.DefenceFn`.

  Images of one channel are not changed, and the report's values say so: `one_channel` is 1.
  """
  del key, tools
  is_grey = training_set.images.shape[-1] != len(_LUMA)
  return forms.changed(
    training_set,
    lambda images: forms.on_uint8(grayscale, images),
    {"one_channel": float(is_grey)},
  )
