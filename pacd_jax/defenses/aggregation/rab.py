"""RAB: models that are each trained on a noisy copy of the training set."""

import math

import numpy as np
import scipy.special

from pacd_jax import errors
from pacd_jax.certification import confidence

UNIT = "l2 norm of all changes of training images"  # Of the radius.


def certify(
  chosen_counts: np.ndarray,
  counts: np.ndarray,
  sigma: float,
  alpha: float,
  *,
  shares: tuple[float, float] = (0.5, 0.5),
) -> tuple[np.ndarray, np.ndarray]:
  """The class that models trained on noisy copies vote for, and its radius.

    R = sigma / 2 (Phi^-1(p_A) - Phi^-1(p_B)),  and -1 with R = 0 where p_A <= p_B

  against every change of training images with (sum_i |delta_i|^2)^(1/2) < R, the total l2
  norm of all of them, where labels are the same. A model's copy has one draw of
  N(0, sigma^2 I) for each image, for the whole of its training: fresh noise at every step
  is of no theorem. Weber et al. (2023), https://arxiv.org/abs/2003.08904.

  p_A is the class's one-sided Clopper-Pearson lower bound, at the first share of alpha. p_B
  is the largest upper bound of another class, each at 1 / (K - 1) of the second share (a
  union), or 1 - p_A where that is less. The class is chosen by other models. So R is wrong
  with probability at most alpha for a point; the paper's code spends 2 alpha. Points share
  the models: their errors are not independent.

  Args:
    chosen_counts: int `[B, K]`, votes of the models that choose the class.
    counts: int `[B, K]`, votes of the others, which bound it.
    sigma: standard deviation of the noise, at least 0.
    alpha: in (0, 1).
    shares: of alpha, for p_A and for p_B; they sum to 1.

  Returns:
    The class, int64 `[B]`, -1: abstained, and R, float64 `[B]`, in the units of sigma.

  Raises:
    errors.InputError: sigma is negative, or shares do not sum to 1.
  """
  chosen_counts, counts = np.asarray(chosen_counts), np.asarray(counts)
  if chosen_counts.shape != counts.shape or counts.ndim != 2:
    raise ValueError(f"votes of shapes {chosen_counts.shape} and {counts.shape}")
  if not (min(shares) > 0.0 and math.isclose(sum(shares), 1.0)):
    raise errors.InputError(
      f"shares of alpha are {shares[0]:g} and {shares[1]:g}: use two above 0 that sum to 1"
    )
  label = chosen_counts.argmax(axis=1)
  total = counts.sum(axis=1)
  own = np.take_along_axis(counts, label[:, None], axis=1)[:, 0]
  lower = np.asarray(confidence.clopper_pearson_lower(own, total, shares[0] * alpha))
  others = np.where(np.arange(counts.shape[1]) == label[:, None], 0, counts)
  share = shares[1] * alpha / (counts.shape[1] - 1)
  upper = 1.0 - confidence.clopper_pearson_lower(total - others.max(axis=1), total, share)
  return from_bounds(label, lower, np.minimum(upper, 1.0 - lower), sigma)


def from_bounds(
  label: np.ndarray, lower: np.ndarray, upper: np.ndarray, sigma: float
) -> tuple[np.ndarray, np.ndarray]:
  """The same from the bounds p_A and p_B, float64 `[B]` in (0, 1), of classes `[B]`."""
  if not sigma >= 0.0:
    raise errors.InputError(f"noise cannot have a sigma of {sigma:g}: use 0 or more")
  certified = lower > upper
  low, high = np.where(certified, lower, 0.5), np.where(certified, upper, 0.5)
  radius = 0.5 * sigma * (scipy.special.ndtri(low) - scipy.special.ndtri(high))
  return np.where(certified, label, -1), np.where(certified, radius, 0.0)
