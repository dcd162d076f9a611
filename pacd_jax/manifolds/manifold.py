"""A manifold of images: an encoder to few latents, and a decoder back."""

from collections.abc import Callable
from typing import NamedTuple

import chex
import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import arrays


class Manifold(NamedTuple):
  """Two pure functions, E and G, of every image and every point by itself.

  The manifold is G's range. One unit of a latent is one standard deviation: of the images
  that it was fitted on, or of the prior.
  """

  # E: float32 images `[B, H, W, C]` -> float32 latents `[B, d]`.
  encode: Callable[[types.Array], types.Array]
  # G: latents `[B, d]` -> images `[B, H, W, C]`.
  decode: Callable[[types.Array], types.Array]
  latent_dimension: int  # d.


def project(manifold: Manifold, images: types.Array) -> types.Array:
  """G(E(x)), the images' places on the manifold, `[B, H, W, C]`."""
  chex.assert_rank(images, 4)
  return manifold.decode(manifold.encode(images))


def centred(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The images minus their mean, float64 `[n, HWC]`, and the mean `[HWC]`, in [0, 1]."""
  chex.assert_rank(images, 4)
  pixels = arrays.to_float(images).reshape(len(images), -1).astype(np.float64)
  mean = pixels.mean(axis=0)
  return pixels - mean, mean


def check_dimension(images: np.ndarray, latent_dimension: int) -> None:
  """Checks that images vary in as many directions as they are to have latents.

  Args:
    images: uint8 or float32 `[n, H, W, C]`, those that a manifold is fitted on.
    latent_dimension: d.

  Raises:
    errors.InputError: d is under 1, or above the rank of the centred images.
  """
  rank = int(np.linalg.matrix_rank(centred(images)[0]))
  if not 1 <= latent_dimension <= rank:
    raise errors.InputError(
      f"latent_dimension is {latent_dimension}, but the {len(images)} images that the "
      f"manifold is fitted on vary in {rank} directions: use 1 to {rank}"
    )
