"""Poisoning a linear classifier in one dimension, in closed form: Theorem 1.

Section 3.4 of Mehra et al. (2021), https://arxiv.org/abs/2012.01274, problem (3):

  min_u  R(u) = E_{x ~ P-} [max(sign(w*) (-b*/w* - x), 0)]
  s.t.   |u_i - x_i^-| <= epsilon,
         w*, b* = argmin_{w, b} sum_i (w x_i^+ + b - 1)^2 + sum_i (w u_i + b + 1)^2

Everything is float64 NumPy; a class is its points `[n]`, in the unit of x, which radii,
thresholds and epsilon have, too. Nothing is assumed of the distributions: P- is the
clean negative points, or a sample of its own.

With n points in each class, m the mean of u and m+ that of the positive class,

  -b*/w* = (m+ + m) / 2,   sign(w*) = sign(m+ - m),

so that R depends on u by its mean alone: the variance of u changes the slope w*, and
neither the threshold nor a radius. That is all of the theorem: R rises with m below m+
and falls above it. **Theorem 1, exactly**, for epsilon and the gap m+ - m- > 0 of the
clean means:

- epsilon < gap: u_i = x_i^- - epsilon (Case 1) is globally optimal. It is the only
  optimum if a point of P- is below its threshold, as one always is where P- is the
  training points. A P- of other points may be wholly beyond it: R is 0 then, and so it
  is for any u whose mean is low enough.
- epsilon > gap: u_i = x_i^- + epsilon (Case 2) is locally optimal, too. Either case is
  isolated if a point of P- is certified there; else it is the end of a plateau where R
  is 0, whose every point is as good. No other u is locally optimal.
- epsilon = gap, which the paper has in Case 2: w* = 0 there, and no threshold exists.

Classes of unequal size are another problem: the variance of u moves the threshold, and
the corners u_i = x_i^- +- epsilon need not be optimal (`least_squares`, `hypergradient`
and `negative_acr` are exact for them as well; the theorem is refused).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pacd_jax import errors


class Line(NamedTuple):
  """f(x) = slope x + intercept: class +1 where it is above 0."""

  slope: float  # w*
  intercept: float  # b*

  @property
  def threshold(self) -> float:
    """-b*/w*, the decision boundary; infinite or NaN where the slope is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
      return float(np.divide(-self.intercept, self.slope))


class Optimum(NamedTuple):
  """A local optimum of problem (3)."""

  case: int  # 1: away from the other class; 2: towards and past it.
  poison: np.ndarray  # `[n]`, u.
  line: Line  # The victim's classifier.
  acr: float  # R(u).
  is_isolated: bool  # False: it ends a plateau of optima, all with an ACR of 0.


def split(points: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
  """Points `[N]` or `[N, d]` by their labels `[N]`, +1 or -1: (positive, negative).

  Raises:
    errors.InputError: a label is neither, the numbers differ, or all labels are one.
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


def least_squares(positive: ArrayLike, negative: ArrayLike) -> Line:
  """w*, b* of problem (3), for classes of any sizes n+ and n-.

    w* = 2 p q (m+ - m) / D,   b* = p - q - w* (p m+ + q m),
    D = p v+ + q v + p q (m+ - m)^2,   p = n+ / (n+ + n-),   q = 1 - p

  with m+ and v+ mean and variance of the positive class, m and v of the negative: the
  covariance of x and y over the variance of x. w* is 0 where the means are equal.

  Args:
    positive: x^+, `[n+]`.
    negative: x^- or u, `[n-]`.

  Raises:
    errors.InputError: a class has no point or one that is not finite, or all points are
      the same.
  """
  moments = _moments(positive, negative)
  if not moments.total > 0.0:
    raise errors.InputError("all points are the same: no line fits them alone")
  p, q, gap, mean = moments.p, moments.q, moments.gap, moments.mean
  slope = 2.0 * p * q * gap / moments.total
  return Line(slope, p - q - slope * mean)


def threshold(positive: ArrayLike, negative: ArrayLike) -> float:
  """-b*/w*, where the least-squares classifier changes its mind.

    -b*/w* = p m+ + q m - (p - q) D / (2 p q (m+ - m)),

  in the symbols of `least_squares`; (m+ + m) / 2 for classes of the same size.

  Raises:
    errors.InputError: as `least_squares`, or the means of the classes are equal.
  """
  return _threshold(_distinct(positive, negative))


def negative_acr(positive: ArrayLike, negative: ArrayLike, test: ArrayLike) -> float:
  """R: the average certified radius of the negative class, of any sample.

    R = (1/m) sum_j max(sign(w*) (-b*/w* - x_j), 0)

  A smoothed linear classifier is the classifier itself, and its certified radius the
  distance to the boundary (Cohen et al., 2019, https://arxiv.org/abs/1902.02918).

  Args:
    positive: x^+, `[n+]`, trained on.
    negative: x^- or u, `[n-]`, trained on.
    test: points of P-, `[m]`, certified.

  Returns:
    R, at least 0; wrong points count as 0.

  Raises:
    errors.InputError: as `threshold`, or there is no test point.
  """
  moments = _distinct(positive, negative)
  signed = np.sign(moments.gap) * (_threshold(moments) - _points("test", test))
  return float(np.maximum(signed, 0.0).mean())


def hypergradient(positive: ArrayLike, negative: ArrayLike, test: ArrayLike) -> np.ndarray:
  """dR/du_i through the training of w* and b*, `[n-]`: exact.

    dR/du_i = sign(w*) P-[certified] dt/du_i,   t = -b*/w*
    dt/du_i = 1/N - (p - q)/(2 p q N) [ 2 (u_i - m)/g - 2 p + D/(q g^2) ]

  with g = m+ - m, N = n+ + n- and the symbols of `least_squares`; 1/N = 1/(2 n) alone for
  classes of the same size. Where a test point is on the boundary, R has a kink, and the
  derivative is that without the point.

  Arguments and errors as `negative_acr`, at u = `negative`.
  """
  m = _distinct(positive, negative)
  u, test = _points("negative", negative), _points("test", test)
  sign = np.sign(m.gap)
  certified = np.mean(sign * (_threshold(m) - test) > 0.0)
  bracket = 2.0 * (u - m.negative_mean) / m.gap - 2.0 * m.p + m.total / (m.q * m.gap**2)
  slope = (1.0 - (m.p - m.q) / (2.0 * m.p * m.q) * bracket) / m.num_points
  return sign * certified * slope


def needed_epsilon(positive: ArrayLike, negative: ArrayLike) -> float:
  """|m+ - m-|: an epsilon above it makes Case 2 possible (Theorem 1's condition).

  Raises:
    errors.InputError: as `threshold`.
  """
  return abs(_distinct(positive, negative).gap)


def local_optima(
  positive: ArrayLike,
  negative: ArrayLike,
  epsilon: float,
  test: ArrayLike | None = None,
) -> list[Optimum]:
  """Theorem 1: Case 1, and Case 2 where epsilon is above the gap of the means.

  Where the negative class is the one to the right, the two cases are mirrored: Case 1 is
  always away from the other class.

  Args:
    positive: x^+, `[n]`.
    negative: x^-, `[n]`, clean.
    epsilon: at least 0, the budget of one point.
    test: points of P-, `[m]`; the negative points by default.

  Raises:
    errors.InputError: as `negative_acr`, or epsilon is negative, or the classes differ in
      size, for which the theorem does not hold.
  """
  moments = _distinct(positive, negative)
  positive, negative = _points("positive", positive), _points("negative", negative)
  if len(positive) != len(negative):
    raise errors.InputError(
      f"{len(positive)} positive and {len(negative)} negative points: Theorem 1 is for "
      "classes of the same size"
    )
  if not 0.0 <= epsilon < np.inf:
    raise errors.InputError(f"epsilon is {epsilon}: use a number from 0 on")
  test = negative if test is None else _points("test", test)
  away = -np.sign(moments.gap) * epsilon
  found = []
  for case, shift in ((1, away), (2, -away)):
    if case == 2 and not epsilon > abs(moments.gap):
      continue
    poison = negative + shift
    acr = negative_acr(positive, poison, test)
    optimum = Optimum(case, poison, least_squares(positive, poison), acr, acr > 0.0)
    found.append(optimum)
  return found


def stationarity(
  positive: ArrayLike,
  negative: ArrayLike,
  epsilon: float,
  poison: ArrayLike,
  test: ArrayLike | None = None,
) -> float:
  """How far u is from a point that satisfies the first-order conditions of problem (3).

    max_i |u_i - clip(u_i - dR/du_i, x_i^- - epsilon, x_i^- + epsilon)|

  It is 0 where no admissible move of a single u_i lowers R to first order
  (Karush, Kuhn and Tucker). Arguments and errors as `local_optima`, but classes may
  differ in size; `poison` is u, `[n]`.
  """
  negative, poison = _points("negative", negative), _points("poison", poison)
  test = negative if test is None else test
  step = poison - hypergradient(positive, poison, test)
  allowed = np.clip(step, negative - epsilon, negative + epsilon)
  return float(np.abs(poison - allowed).max())


def move_fraction(negative: ArrayLike, fraction: float, epsilon: float) -> np.ndarray:
  """The first `fraction` of the points moved by epsilon, the others not: Corollary 2.

  By Corollary 2 (appendix A of the paper) this is worth as much as moving all points by
  `fraction * epsilon`, for classes of the same size: the means are the same, so the
  thresholds and the ACR are. The slopes w* are not.

  Args:
    negative: x^-, `[n]`.
    fraction: alpha, in [0, 1]; alpha n must be whole.
    epsilon: signed, the move of a point.

  Raises:
    errors.InputError: a class has no point, or alpha n is not whole or out of range.
  """
  negative = _points("negative", negative)
  count = round(fraction * len(negative))
  if not (0.0 <= fraction <= 1.0 and abs(count - fraction * len(negative)) < 1e-9):
    raise errors.InputError(
      f"fraction is {fraction} of {len(negative)} points: use a whole number of them"
    )
  return negative + np.where(np.arange(len(negative)) < count, epsilon, 0.0)


class _Moments(NamedTuple):
  p: float  # Share of the positive class,
  q: float  # and of the negative.
  num_points: int  # N
  negative_mean: float  # m
  gap: float  # m+ - m
  mean: float  # Of all points.
  total: float  # D, the variance of all points.


def _points(name: str, points: ArrayLike) -> np.ndarray:
  points = np.asarray(points, np.float64)
  if points.ndim != 1 or not points.size:
    raise errors.InputError(
      f"{name} has the shape {points.shape}: give at least one point, as [n]"
    )
  if not np.isfinite(points).all():
    raise errors.InputError(f"{name} holds numbers that are not finite")
  return points


def _moments(positive: ArrayLike, negative: ArrayLike) -> _Moments:
  positive, negative = _points("positive", positive), _points("negative", negative)
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
  """The moments, of classes whose means differ by more than rounding."""
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
