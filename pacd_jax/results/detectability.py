"""Distances of poisoned images from their base images: how visible is the poison?"""

import os
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from pacd_jax import types
from pacd_jax.data import poison_file

_RADIUS, _SIGMA = 5, 1.5  # SSIM's Gaussian window: 11x11 pixels.
_K1, _K2 = 0.01, 0.03


class Distances(NamedTuple):
  """Per-image distances, float64 `[n]` over all channels; images are in [0, 1]."""

  linf: np.ndarray  # max_j |u_j - x_j|.
  l2: np.ndarray  # sqrt(sum_j (u_j - x_j)^2).
  psnr: np.ndarray  # -10 log10 mean_j (u_j - x_j)^2, dB; inf for equal images.
  ssim: np.ndarray  # In [-1, 1], 1 for equal images.


def distances(poison: types.Poison) -> Distances:
  """Distances of every poisoned image from its base image, as saved in 8 bits."""
  images, base = (
    images.astype(np.float64) / 255.0 for images in (poison.images, poison.base_images)
  )
  delta, axes = images - base, (1, 2, 3)
  with np.errstate(divide="ignore"):
    psnr = -10.0 * np.log10((delta**2).mean(axes))
  return Distances(
    np.abs(delta).max(axes), np.sqrt((delta**2).sum(axes)), psnr, ssim(images, base)
  )


def of_file(path: str | os.PathLike) -> Distances:
  """Computes `distances` of a saved poison.

  Raises:
    errors.InputError: the file cannot be read.
  """
  return distances(poison_file.load(path))


def ssim(images: np.ndarray, others: np.ndarray) -> np.ndarray:
  """Structural similarity (SSIM): the mean of its map over pixels and channels.

    (2 m_a m_b + c1) (2 s_ab + c2) / ((m_a^2 + m_b^2 + c1) (s_a^2 + s_b^2 + c2))

  with means m, variances s^2 and covariance s_ab under an 11x11 Gaussian window of
  standard deviation 1.5, c1 = 0.01^2 and c2 = 0.03^2: Wang et al. (2004), "Image quality
  assessment: from error visibility to structural similarity". Images are mirrored at the
  border, so that small ones, such as 8x8 digits, have a map of their size.

  Args:
    images: `[n, H, W, C]` in [0, 1].
    others: likewise.

  Returns:
    float64 `[n]`.
  """

  def blurred(values):
    for axis in (1, 2):
      values = ndimage.gaussian_filter1d(
        values, _SIGMA, axis=axis, mode="mirror", truncate=_RADIUS / _SIGMA
      )
    return values

  mean_a, mean_b = blurred(images), blurred(others)
  variances = blurred(images**2) - mean_a**2 + blurred(others**2) - mean_b**2
  covariance = blurred(images * others) - mean_a * mean_b
  means = (2.0 * mean_a * mean_b + _K1**2) / (mean_a**2 + mean_b**2 + _K1**2)
  return (means * (2.0 * covariance + _K2**2) / (variances + _K2**2)).mean((1, 2, 3))
