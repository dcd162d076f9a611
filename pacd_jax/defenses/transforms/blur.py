"""Gaussian blur."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import types


def blur(images: types.Array, *, sigma: float) -> types.Array:
  """Every channel under a Gaussian of standard deviation sigma; a `types.TransformFn`.

  The filter is cut at 3 sigma, at least one pixel, and sums to 1; images are continued by
  their edges, so that a constant image is not changed. It is linear, and does not clip
  noisy images. As sigma goes to 0 it becomes the identity: a sigma of 0.1, as in APBench
  (Qin et al., 2023, https://arxiv.org/abs/2308.03258, code), gives a neighbour the weight
  2e-22, so that the rows of tables called Gaussian there are of unchanged images.

  Args:
    images: float32 `[B, H, W, C]`.
    sigma: in pixels, above 0.
  """
  chex.assert_rank(images, 4)
  weights = kernel(sigma)
  for axis in (1, 2):
    images = _along(images, weights, axis)
  return images


def kernel(sigma: float) -> np.ndarray:
  """The filter's weights along one axis, `[2 r + 1]`."""
  radius = max(1, math.ceil(3.0 * sigma))
  with np.errstate(over="ignore", under="ignore"):
    weights = np.exp(-((np.arange(-radius, radius + 1) / sigma) ** 2) / 2.0)
  return weights / weights.sum()


def _along(images, weights, axis):
  radius, size = len(weights) // 2, images.shape[axis]
  pad = [(radius, radius) if each == axis else (0, 0) for each in range(4)]
  padded = jnp.pad(images, pad, mode="edge")
  total = jnp.zeros_like(images)
  for offset, weight in enumerate(weights):
    shifted = jax.lax.slice_in_dim(padded, offset, offset + size, axis=axis)
    total += float(weight) * shifted
  return total
