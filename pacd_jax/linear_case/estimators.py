"""Poisoning of an estimate of the mean, the simplest example of data poisoning.

The attacker adds k points of his choice in [-bound, bound] to n clean points. Everything is
float64 NumPy in one dimension; the estimators are functions `[N] -> float`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from pacd_jax import errors

EstimatorFn = Callable[[np.ndarray], float]


def mean(points: ArrayLike) -> float:
  """The mean (1/N) sum_i x_i, which one point can move anywhere."""
  return float(np.mean(_checked(points)))


def median(points: ArrayLike) -> float:
  """The median; half of the points are needed to move it anywhere."""
  return float(np.median(_checked(points)))


def trimmed_mean(points: ArrayLike, share: float) -> float:
  """The mean without the floor(share N) lowest and the floor(share N) highest points.

  It stays between clean points if at most floor(share N) points are poisoned (Huber, 1981,
  "Robust Statistics", section 3.3).

  Args:
    points: `[N]`.
    share: share of the points to drop at either end, in [0, 1/2).
  """
  points = _checked(points)
  if not 0.0 <= share < 0.5:
    raise errors.InputError(f"share is {share}: use a number in [0, 1/2)")
  return float(stats.trim_mean(points, share))


def filtered_mean(points: ArrayLike, radius: float) -> float:
  """The mean of the points within `radius` of the median of all points.

  It is not monotone in a point: distant points are dropped, so an attacker does best with
  points just inside the radius.

  Args:
    points: `[N]`.
    radius: above 0, in the unit of x.
  """
  points = _checked(points)
  if not radius > 0.0:
    raise errors.InputError(f"radius is {radius}: use a number above 0")
  near = np.abs(points - np.median(points)) <= radius
  # The median of an even number of points may be far from all of them.
  return float(points[near].mean()) if near.any() else float(np.median(points))


def worst_shift(
  estimator: EstimatorFn,
  clean: ArrayLike,
  num_poison: int,
  *,
  bound: float,
  num_places: int = 1,
) -> tuple[float, float]:
  """The largest shift of an estimate by k equal added points: (shift, their place).

    max_{z in places} T(x_1, ..., x_n, z, ..., z) - T(x_1, ..., x_n)

  For an estimator that is monotone in each point (mean, median, trimmed mean), no k points
  shift it more than k points at the bound, so one place is enough. For others, such as
  `filtered_mean`, the places are a grid from the bound down to the clean estimate.

  Args:
    estimator: T.
    clean: x, `[n]`.
    num_poison: k, at least 0.
    bound: the largest place, at least the clean estimate.
    num_places: number of places in the grid, at least 1.

  Returns:
    The largest shift and its place, both in the unit of x.

  Raises:
    errors.InputError: there are no points, or an argument is out of range.
  """
  clean = _checked(clean)
  before = estimator(clean)
  if num_poison < 0 or num_places < 1 or not before <= bound < np.inf:
    raise errors.InputError(
      f"num_poison={num_poison}, num_places={num_places}, bound={bound}: use at least 0, "
      f"at least 1, and at least the clean estimate, {before:g}"
    )
  places = np.linspace(bound, before, num_places + 1)[:num_places]
  shifts = [
    estimator(np.append(clean, np.full(num_poison, place))) - before for place in places
  ]
  best = int(np.argmax(shifts))
  return float(shifts[best]), float(places[best])


def _checked(points: ArrayLike) -> np.ndarray:
  points = np.asarray(points, np.float64)
  if points.ndim != 1 or not points.size:
    raise errors.InputError(
      f"points have the shape {points.shape}: give at least one, as [N]"
    )
  if not np.isfinite(points).all():
    raise errors.InputError("points hold numbers that are not finite")
  return points
