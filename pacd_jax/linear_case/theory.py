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
the corners u_i = x_i^- +- epsilon need not be optimal (`least_squares` is exact for
them as well; the theorem is refused).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pacd_jax import errors
from pacd_jax.linear_case import least_squares
from pacd_jax.linear_case.least_squares import checked


class Optimum(NamedTuple):
  """A local optimum of problem (3)."""

  case: int  # 1: away from the other class; 2: towards and past it.
  poison: np.ndarray  # `[n]`, u.
  line: least_squares.Line  # The victim's classifier.
  acr: float  # R(u).
  is_isolated: bool  # False: it ends a plateau of optima, all with an ACR of 0.


def needed_epsilon(positive: ArrayLike, negative: ArrayLike) -> float:
  """|m+ - m-|: an epsilon above it makes Case 2 possible (Theorem 1's condition).

  Raises:
    errors.InputError: as `least_squares.threshold`.
  """
  return abs(least_squares.gap(positive, negative))


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
    errors.InputError: as `least_squares.negative_acr`, or epsilon is negative, or the
      classes differ in size, for which the theorem does not hold.
  """
  gap = least_squares.gap(positive, negative)
  positive, negative = checked("positive", positive), checked("negative", negative)
  if len(positive) != len(negative):
    raise errors.InputError(
      f"{len(positive)} positive and {len(negative)} negative points: Theorem 1 is for "
      "classes of the same size"
    )
  _check_epsilon(epsilon)
  test = negative if test is None else checked("test", test)
  away = -np.sign(gap) * epsilon
  found = []
  for case, shift in ((1, away), (2, -away)):
    if case == 2 and not epsilon > abs(gap):
      continue
    poison = negative + shift
    acr = least_squares.negative_acr(positive, poison, test)
    optimum = Optimum(case, poison, least_squares.fit(positive, poison), acr, acr > 0.0)
    found.append(optimum)
  return found


def _check_epsilon(epsilon: float) -> None:
  if not 0.0 <= epsilon < np.inf:
    raise errors.InputError(f"epsilon is {epsilon}: use a number from 0 on")


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
  negative, poison = checked("negative", negative), checked("poison", poison)
  _check_epsilon(epsilon)
  if len(poison) != len(negative):
    raise errors.InputError(
      f"poison has {len(poison)} points and negative {len(negative)}: use the same number"
    )
  test = negative if test is None else test
  step = poison - least_squares.hypergradient(positive, poison, test)
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
  negative = checked("negative", negative)
  moved = fraction * len(negative) if 0.0 <= fraction <= 1.0 else np.nan
  count = int(np.nan_to_num(np.rint(moved)))
  if not abs(count - moved) < 1e-9:
    raise errors.InputError(
      f"fraction is {fraction} of {len(negative)} points: use a whole number of them"
    )
  return negative + np.where(np.arange(len(negative)) < count, epsilon, 0.0)
