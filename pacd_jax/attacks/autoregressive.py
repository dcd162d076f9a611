"""Autoregressive (AR) patterns: noise that a small filter of one class maps to zero."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import perturbation, types
from pacd_jax.attacks.movement import poisoned_images
from pacd_jax.data import arrays

SIDE = 3  # Of the window, whose last entry is the value that the others give.
_CANDIDATES, _TRIALS = 100, 3  # Draws of the coefficients, and patterns made of each.
_LARGEST_SUM = 4.0  # Of the coefficients' absolute values: no pattern overflows.
_COEFFICIENTS, _TRIAL, _IMAGE = range(3)  # Random streams, folded from the key.


def ar(
  train: types.Dataset,
  target_class: int,
  key: types.Key,
  *,
  epsilon: float,
  norm: str = "linf",
  crop: int = 4,
) -> np.ndarray:
  """Adds to each image of the class a pattern of its own, of one autoregressive process.

    u_i = x_i + epsilon d_i / |d_i|,  d_i[r, c] = sum_jk b[j, k] d_i[r - 2 + j, c - 2 + k]

  over the 3x3 window that ends at (r, c), whose last coefficient b is 0. Each channel has
  coefficients of its own; the first two rows and columns, and with them the pattern, are
  random for each image. A convolution with b, -1 at its end, maps the pattern to zero. AR
  of Sandoval-Segura et al. (2022), https://arxiv.org/abs/2206.03693, who scale by the l_2
  norm, and poison all classes.

  Args:
    train: training split.
    target_class: the class whose images are poisoned.
    key: folded, not consumed; draws coefficients and patterns.
    epsilon: budget in image units.
    norm: norm of the budget, by which patterns are divided: l_inf has few values at it.
    crop: rows and columns that are made, and cut off, before the pattern's first.

  Returns:
    float32 `[n, H, W, C]` in [0, 1] and in the budget, for all images of the class.
  """
  base = arrays.to_float(train.images[arrays.class_indices(train, target_class)])
  height, width, channels = base.shape[1:]
  shape = height + crop, width + crop
  own = coefficients(jax.random.fold_in(key, _COEFFICIENTS), channels, shape)
  starts = _starts(jax.random.fold_in(key, _IMAGE), (len(base), *shape, channels))
  found = jnp.asarray(generate(own, starts)[:, crop:, crop:], jnp.float32)
  delta = epsilon * perturbation.normalized(found, norm=norm)
  return np.asarray(poisoned_images(jnp.asarray(base), delta))


def coefficients(key: types.Key, num_channels: int, shape: tuple[int, int]) -> np.ndarray:
  """Coefficients b of a process whose patterns neither grow nor die within an image.

  They are drawn from N(0, 1) and divided by their sum, as by the authors; where this leaves
  their absolute values with a sum over 4, that sum is 4. Of 100 draws for each channel, the
  one is kept whose last quarter of the image, over that of the whole, has a root mean
  square nearest to 1 on the logarithmic scale. The authors keep draws whose patterns have a
  norm of at most 5, and that filters of other classes answer to.

  Args:
    key: folded, not consumed.
    num_channels: C.
    shape: (H, W) of the patterns.

  Returns:
    float64 `[3, 3, C]`; the last entry of each window is 0.
  """
  draws = jax.random.normal(
    jax.random.fold_in(key, _COEFFICIENTS),
    (SIDE, SIDE, _CANDIDATES * num_channels),
    jnp.float32,
  )
  found = np.array(draws, np.float64)
  found[-1, -1] = 0.0
  found /= found.sum(axis=(0, 1))
  found *= np.minimum(1.0, _LARGEST_SUM / np.abs(found).sum(axis=(0, 1)))
  starts = _starts(
    jax.random.fold_in(key, _TRIAL), (_TRIALS, *shape, _CANDIDATES * num_channels)
  )
  with np.errstate(over="ignore", invalid="ignore"):  # Large images, growing patterns.
    patterns = generate(found, starts)
    last = patterns[:, shape[0] // 2 :, shape[1] // 2 :]
    power, of_last = ((each**2).mean(axis=(0, 1, 2)) for each in (patterns, last))
    growth = np.log(np.maximum(of_last, np.finfo(np.float64).tiny) / power)
  growth = np.where(np.isfinite(growth), np.abs(growth), np.inf)
  best = growth.reshape(_CANDIDATES, num_channels).argmin(axis=0)
  return found[:, :, best * num_channels + np.arange(num_channels)]


def generate(coefficients: np.ndarray, starts: np.ndarray) -> np.ndarray:
  """Patterns of the process, value after value; on the host, in float64.

  Args:
    coefficients: `[3, 3, C]`, the last entry of each window 0.
    starts: `[n, H, W, C]`, of which the first two rows and columns are kept.

  Returns:
    float64 `[n, H, W, C]`.
  """
  chex.assert_rank([coefficients, starts], [3, 4])
  patterns = np.array(starts, np.float64)
  for row in range(SIDE - 1, patterns.shape[1]):
    for column in range(SIDE - 1, patterns.shape[2]):
      window = patterns[:, row - SIDE + 1 : row + 1, column - SIDE + 1 : column + 1]
      patterns[:, row, column] = (window * coefficients).sum(axis=(1, 2))
  return patterns


def _starts(key: types.Key, shape: tuple[int, ...]) -> np.ndarray:
  return np.asarray(jax.random.normal(key, shape, jnp.float32))
