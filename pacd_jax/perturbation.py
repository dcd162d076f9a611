"""The budget of a perturbation: balls in l_inf and l_2, the box [0, 1], and 8 bits.

A perturbation is one image's `delta = u - x`, `[H, W, C]` in image units ([0, 1]); a
function of a batch treats each image separately.
"""

import chex
import jax.numpy as jnp
import numpy as np
import scipy.fft

from pacd_jax import types

NORMS = ("linf", "l2")
_TINY = 1e-12  # Smaller than any perturbation that 8 bits can represent.


def _image_norm(delta: types.Array) -> types.Array:
  """l2 norm of each image, `[B, 1, 1, 1]`."""
  return jnp.sqrt(jnp.sum(delta**2, axis=(1, 2, 3), keepdims=True))


def project(delta: types.Array, *, epsilon: float | types.Array, norm: str) -> types.Array:
  """The nearest perturbations with `|delta|_norm <= epsilon`, `[B, H, W, C]`."""
  chex.assert_rank(delta, 4)
  if norm == "linf":
    return jnp.clip(delta, -epsilon, epsilon)
  if norm == "l2":
    return delta * jnp.minimum(1.0, epsilon / jnp.maximum(_image_norm(delta), _TINY))
  raise ValueError(f"norm must be one of {NORMS}, not {norm!r}")


def steepest_direction(gradient: types.Array, *, norm: str) -> types.Array:
  """argmax of <gradient, v> over |v|_norm <= 1, per image; 0 for a zero gradient."""
  chex.assert_rank(gradient, 4)
  if norm == "linf":
    return jnp.sign(gradient)
  if norm == "l2":
    # Divided by the largest entry first: squares of a small gradient would underflow.
    largest = jnp.abs(gradient).max(axis=(1, 2, 3), keepdims=True)
    scaled = gradient / jnp.where(largest > jnp.finfo(largest.dtype).tiny, largest, 1.0)
    return scaled / jnp.maximum(_image_norm(scaled), 1.0)
  raise ValueError(f"norm must be one of {NORMS}, not {norm!r}")


def normalized(gradient: types.Array, *, norm: str) -> types.Array:
  """Each image's gradient divided by its norm, `[B, H, W, C]`; 0 for a zero gradient."""
  chex.assert_rank(gradient, 4)
  if norm == "linf":
    largest = jnp.abs(gradient).max(axis=(1, 2, 3), keepdims=True)
    return gradient / jnp.where(largest > 0, largest, 1.0)
  return steepest_direction(gradient, norm=norm)


def low_pass(images: types.Array, num_frequencies: int) -> types.Array:
  """The part of each image, `[B, H, W, C]`, in the lowest frequencies of both axes.

  It is the orthogonal projection onto the first `num_frequencies` cosines of the discrete
  cosine transform (DCT-II), as in low-frequency attacks (Guo et al., 2018,
  https://arxiv.org/abs/1809.08758).
  """
  chex.assert_rank(images, 4)
  for axis in (1, 2):
    cosines = scipy.fft.dct(np.eye(images.shape[axis]), axis=0, norm="ortho")
    kept = cosines[:num_frequencies]
    projection = jnp.asarray(kept.T @ kept, images.dtype)
    images = jnp.moveaxis(jnp.tensordot(images, projection, axes=(axis, 0)), -1, axis)
  return images


def quantize(
  images: np.ndarray, base_images: np.ndarray, *, epsilon: float, norm: str
) -> np.ndarray:
  """Rounds images to 8 bits within the budget, on the host in float64.

  l_inf: to the nearest level within `floor(255 epsilon)` levels of the base. l_2: to the
  nearest level; images that this would take out of the ball are rounded towards the base.

  Args:
    images: float `[n, H, W, C]`, nominally in [0, 1] and in the ball.
    base_images: uint8 `[n, H, W, C]`.
    epsilon: budget in image units.
    norm: "linf" or "l2".

  Returns:
    uint8 `[n, H, W, C]` with `|images - base_images| <= 255 epsilon` in the norm.
  """
  chex.assert_rank([images, base_images], 4)
  base = base_images.astype(np.float64)
  exact = np.clip(np.asarray(images, np.float64) * 255.0, 0.0, 255.0) - base
  levels = np.rint(exact)
  if norm == "linf":
    largest = np.floor(epsilon * 255.0)
    levels = np.clip(levels, -largest, largest)
  elif norm == "l2":
    axes = (1, 2, 3)
    outside = np.sqrt((levels**2).sum(axes)) > epsilon * 255.0
    size = np.sqrt((exact**2).sum(axes, keepdims=True))
    inside = exact * np.minimum(1.0, epsilon * 255.0 / np.maximum(size, _TINY))
    levels = np.where(outside[:, None, None, None], np.trunc(inside), levels)
  else:
    raise ValueError(f"norm must be one of {NORMS}, not {norm!r}")
  return (base + levels).astype(np.uint8)
