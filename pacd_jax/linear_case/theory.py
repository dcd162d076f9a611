"""Poisoning of a linear classifier in one dimension, in closed form: Theorem 1.

Section 3.4 of Mehra et al. (2021), https://arxiv.org/abs/2012.01274, problem (3):

  min_u  R(u) = E_{x ~ P-} [max(sign(w*) (-b*/w* - x), 0)]
  s.t.   |u_i - x_i^-| <= epsilon,
         w*, b* = argmin_{w, b} sum_i (w x_i^+ + b - 1)^2 + sum_i (w u_i + b + 1)^2

Everything is float64 NumPy; a class is given by its points `[n]`; radii, thresholds and
epsilon are in the unit of x. No distribution is assumed: P- is the clean negative points,
or a separate sample.

With n points in each class, m the mean of u and m+ that of the positive class,

  -b*/w* = (m+ + m) / 2,   sign(w*) = sign(m+ - m),

so that R depends on u through its mean alone: the variance of u changes the slope w*, but
neither the threshold nor a radius. The theorem follows: R rises with m below m+ and falls
above it. **Theorem 1, exactly**, for epsilon and the gap m+ - m- > 0 of the clean means:

- epsilon < gap: u_i = x_i^- - epsilon (Case 1) is globally optimal. It is the only optimum
  if a point of P- is below its threshold, as one always is if P- is the training points.
  If P- is a separate sample, all its points may be above the threshold: then R is 0 there,
  and for any u whose mean is low enough.
- epsilon > gap: u_i = x_i^- + epsilon (Case 2) is locally optimal too. Either case is
  isolated if a point of P- is certified there; otherwise it is the end of a plateau on
  which R is 0, and every point of the plateau is optimal. No other u is locally optimal.
- epsilon = gap, which the paper includes in Case 2: w* is 0, and no threshold exists.

For classes of unequal size the theorem does not hold: the variance of u moves the
threshold, and the corners u_i = x_i^- +- epsilon need not be optimal. `least_squares` is
exact for them as well; `local_optima` raises an error.
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
  is_isolated: bool  # False: it is the end of a plateau of optima with an ACR of 0.


def needed_epsilon(positive: ArrayLike, negative: ArrayLike) -> float:
  """|m+ - m-|, above which epsilon makes Case 2 possible (the condition of Theorem 1).

  Raises:
    errors.InputError: as in `least_squares.threshold`.
  """
  return abs(least_squares.gap(positive, negative))


def local_optima(
  positive: ArrayLike,
  negative: ArrayLike,
  epsilon: float,
  test: ArrayLike | None = None,
) -> list[Optimum]:
  """The local optima of Theorem 1: Case 1, and Case 2 if epsilon exceeds the means' gap.

  If the negative class is to the right of the positive one, the two cases are mirrored:
  Case 1 always moves away from the other class.

  Args:
    positive: x^+, `[n]`.
    negative: x^-, `[n]`, clean.
    epsilon: budget of one point, at least 0.
    test: points of P-, `[m]`; by default the negative points.

  Raises:
    errors.InputError: as in `least_squares.negative_acr`, or epsilon is negative, or the
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
  """The violation by u of the first-order conditions of problem (3).

    max_i |u_i - clip(u_i - dR/du_i, x_i^- - epsilon, x_i^- + epsilon)|

  It is 0 where no admissible move of a single u_i lowers R to first order
  (Karush, Kuhn and Tucker). Arguments and errors are those of `local_optima`, but classes
  may differ in size; `poison` is u, `[n]`.
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
  """Moves the first `fraction` of the points by epsilon, and not the others: Corollary 2.

  By Corollary 2 (appendix A of the paper), for classes of the same size, this has the same
  effect as moving all points by `fraction * epsilon`: the means are equal, so the
  thresholds and the ACR are too. The slopes w* differ.

  Args:
    negative: x^-, `[n]`.
    fraction: alpha, in [0, 1]; alpha n must be an integer.
    epsilon: signed move of a point.

  Raises:
    errors.InputError: there is no point, or one that is not finite, alpha is out of range,
      or alpha n is not an integer.
  """
  negative = checked("negative", negative)
  moved = fraction * len(negative) if 0.0 <= fraction <= 1.0 else np.nan
  count = int(np.nan_to_num(np.rint(moved)))
  if not abs(count - moved) < 1e-9:
    raise errors.InputError(
      f"fraction is {fraction} of {len(negative)} points: use a whole number of them"
    )
  return negative + np.where(np.arange(len(negative)) < count, epsilon, 0.0)
