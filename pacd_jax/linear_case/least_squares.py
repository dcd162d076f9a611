"""Least squares in one dimension as a classifier: its boundary, radii and hypergradient.

f(x) = w x + b, with targets +1 and -1, in closed form and float64 NumPy. A class is given
by its points `[n]`, of any distribution; thresholds and radii are in the unit of x. It is
the victim of Theorem 1 (`theory`), except that classes may differ in size here.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pacd_jax import errors


class Line(NamedTuple):
  """f(x) = slope x + intercept, which predicts class +1 where it is above 0."""

  slope: float  # w*
  intercept: float  # b*

  @property
  def threshold(self) -> float:
    """-b*/w*, the decision boundary; infinite or NaN where the slope is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
      return float(np.divide(-self.intercept, self.slope))


def split(points: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
  """Splits points `[N]` or `[N, d]` by labels `[N]`, +1 or -1, into (positive, negative).

  Raises:
    errors.InputError: a label is neither, the numbers of points and labels differ, or all
      labels are equal.
  """
  points, labels = np.asarray(points, np.float64), np.asarray(labels)
  if labels.shape != points.shape[:1]:
    raise errors.InputError(
      f"{len(points)} points have labels of shape {labels.shape}: give one for each point"
    )
  if not np.isin(labels, (-1, 1)).all():
    raise errors.InputError(f"labels are {np.unique(labels)}: use +1 and -1")
  if len(np.unique(labels)) < 2:
    found = f"all labels are {labels[0]:+d}" if len(labels) else "there are no labels"
    raise errors.InputError(f"{found}: a classifier needs points of both classes")
  return points[labels == 1], points[labels == -1]


def fit(positive: ArrayLike, negative: ArrayLike) -> Line:
  """w*, b* = argmin sum_i (w x_i^+ + b - 1)^2 + sum_i (w x_i^- + b + 1)^2.

    w* = 2 p q (m+ - m) / D,   b* = p - q - w* (p m+ + q m),
    D = p v+ + q v + p q (m+ - m)^2,   p = n+ / (n+ + n-),   q = 1 - p

  with m+ and v+ the mean and variance of the positive class, m and v those of the negative:
  w* is the covariance of x and y over the variance of x, and 0 if the means are equal.

  Args:
    positive: x^+, `[n+]`.
    negative: x^- or u, `[n-]`.

  Raises:
    errors.InputError: a class has no point or a point that is not finite, or all points
      are equal.
  """
  moments = _moments(positive, negative)
  if not moments.total > 0.0:
    raise errors.InputError("all points are the same: no line fits them alone")
  p, q, gap, mean = moments.p, moments.q, moments.gap, moments.mean
  slope = 2.0 * p * q * gap / moments.total
  return Line(slope, p - q - slope * mean)


def threshold(positive: ArrayLike, negative: ArrayLike) -> float:
  """The decision boundary -b*/w* of the least-squares classifier.

    -b*/w* = p m+ + q m - (p - q) D / (2 p q (m+ - m)),

  in the symbols of `fit`; (m+ + m) / 2 for classes of the same size.

  Raises:
    errors.InputError: as in `fit`, or the means of the classes are equal.
  """
  return _threshold(_distinct(positive, negative))


def negative_acr(positive: ArrayLike, negative: ArrayLike, test: ArrayLike) -> float:
  """R, the average certified radius of the negative class on a sample of test points.

    R = (1/m) sum_j max(sign(w*) (-b*/w* - x_j), 0)

  Smoothing does not change a linear classifier's predictions, and its certified radius is
  the distance to the boundary (Cohen et al., 2019, https://arxiv.org/abs/1902.02918).

  Args:
    positive: x^+, `[n+]`, trained on.
    negative: x^- or u, `[n-]`, trained on.
    test: points of P-, `[m]`, certified.

  Returns:
    R, at least 0; misclassified points count as 0.

  Raises:
    errors.InputError: as in `threshold`, or there is no test point.
  """
  moments = _distinct(positive, negative)
  signed = np.sign(moments.gap) * (_threshold(moments) - checked("test", test))
  return float(np.maximum(signed, 0.0).mean())


def hypergradient(positive: ArrayLike, negative: ArrayLike, test: ArrayLike) -> np.ndarray:
  """The exact hypergradient dR/du_i through the training of w* and b*, `[n-]`.

    dR/du_i = sign(w*) P-[certified] dt/du_i,   t = -b*/w*
    dt/du_i = 1/N - (p - q)/(2 p q N) [ 2 (u_i - m)/g - 2 p + D/(q g^2) ]

  with g = m+ - m, N = n+ + n- and the symbols of `fit`; for classes of the same size,
  dt/du_i = 1/N = 1/(2 n). Where a test point is on the boundary, R has a kink, and the
  derivative is that without the point.

  Arguments and errors are those of `negative_acr`, with u = `negative`.
  """
  m = _distinct(positive, negative)
  u, test = checked("negative", negative), checked("test", test)
  sign = np.sign(m.gap)
  certified = np.mean(sign * (_threshold(m) - test) > 0.0)
  bracket = 2.0 * (u - m.negative_mean) / m.gap - 2.0 * m.p + m.total / (m.q * m.gap**2)
  slope = (1.0 - (m.p - m.q) / (2.0 * m.p * m.q) * bracket) / m.num_points
  return sign * certified * slope


def gap(positive: ArrayLike, negative: ArrayLike) -> float:
  """m+ - m, the difference of the classes' means; its sign is that of w*.

  Raises:
    errors.InputError: as in `threshold`.
  """
  return _distinct(positive, negative).gap


def checked(name: str, points: ArrayLike) -> np.ndarray:
  """Returns points as float64 `[n]`; `name` is theirs in error messages.

  Raises:
    errors.InputError: there is no point, one is not finite, or the shape is not `[n]`.
  """
  points = np.asarray(points, np.float64)
  if points.ndim != 1 or not points.size:
    raise errors.InputError(
      f"{name} has the shape {points.shape}: give at least one point, as [n]"
    )
  if not np.isfinite(points).all():
    raise errors.InputError(f"{name} holds numbers that are not finite")
  return points


class _Moments(NamedTuple):
  p: float  # Share of the positive class.
  q: float  # Share of the negative class.
  num_points: int  # N
  negative_mean: float  # m
  gap: float  # m+ - m
  mean: float  # Mean of all points.
  total: float  # D, the variance of all points.


def _moments(positive: ArrayLike, negative: ArrayLike) -> _Moments:
  positive, negative = checked("positive", positive), checked("negative", negative)
  num_points = len(positive) + len(negative)
  p, q = len(positive) / num_points, len(negative) / num_points
  gap = float(positive.mean() - negative.mean())
  within = p * positive.var() + q * negative.var()
  return _Moments(
    p,
    q,
    num_points,
    float(negative.mean()),
    gap,
    float(p * positive.mean() + q * negative.mean()),
    float(within + p * q * gap**2),
  )


def _distinct(positive: ArrayLike, negative: ArrayLike) -> _Moments:
  """The moments; raises InputError if the classes' means are equal up to rounding."""
  moments = _moments(positive, negative)
  largest = max(np.abs(positive).max(), np.abs(negative).max())
  if abs(moments.gap) <= 4.0 * np.finfo(np.float64).eps * largest:
    raise errors.InputError(
      f"both classes have the mean {moments.mean:g}: the slope is 0, and there is no "
      "threshold"
    )
  return moments


def _threshold(m: _Moments) -> float:
  return m.mean - (m.p - m.q) * m.total / (2.0 * m.p * m.q * m.gap)
