"""Label flips against linear classifiers: random, farthest first, and ALFA.

Xiao, Xiao and Eckert (2012), "Adversarial label flips attack on support vector machines",
ECAI, https://doi.org/10.3233/978-1-61499-098-7-870. Each returns the positions of exactly k
of N points whose signs are to be turned, in rising order. In the shape descriptions `d` is
the number of features.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types
from pacd_jax.linear_case import linear_classifiers
from pacd_jax.linear_case.linear_classifiers import CriterionFn


class Alfa(NamedTuple):
  """The result of ALFA."""

  flipped: np.ndarray  # int `[k]`, rising.
  objective: float  # The least value found.
  history: tuple[float, ...]  # Of the start that led to it: falls from step to step.


def flip(signs: np.ndarray, positions: np.ndarray) -> np.ndarray:
  """The signs `[N]` with those at the positions turned."""
  turned = np.array(signs)
  turned[positions] *= -1
  return turned


def random_flips(num_points: int, count: int, key: types.Key) -> np.ndarray:
  """k of N positions, drawn uniformly without replacement.

  Args:
    num_points: N.
    count: k, from 0 to N.
    key: consumed.

  Raises:
    errors.InputError: k is out of its range.
  """
  _check(count, num_points)
  return np.sort(np.asarray(jax.random.permutation(key, num_points))[:count])


def farthest_first(
  params: linear_classifiers.Linear, points: np.ndarray, signs: np.ndarray, count: int
) -> np.ndarray:
  """The k points that the clean classifier is surest of: those of the largest y f(x).

  Of equal ones, those at lower positions are flipped.

  Args:
    params: the classifier of the clean points.
    points: `[N, d]`.
    signs: y, `[N]`.
    count: k, from 0 to N.

  Raises:
    errors.InputError: k is out of its range.
  """
  _check(count, len(signs))
  margins = signs * np.asarray(linear_classifiers.scores(params, jnp.asarray(points)))
  return np.sort(np.argsort(-margins, kind="stable")[:count])


def alfa(
  points: np.ndarray,
  signs: np.ndarray,
  count: int,
  *,
  criterion: CriterionFn,
  ridge: float,
  key: types.Key,
  num_starts: int = 8,
  max_steps: int = 30,
) -> Alfa:
  """Flips labels that the victim will believe and the clean classifier would not.

    min_q min_theta  1/N sum_i [l(f(x_i), t_i) - l(f_0(x_i), t_i)] + ridge/2 |w|^2,
    t_i = (1 - 2 q_i) y_i,  q in {0, 1}^N,  sum_i q_i = k

  As Xiao et al. (2012) have it, with equal costs of all flips; f_0 is the classifier of the
  clean points, f that of the flipped ones. The problem is solved for theta (the victim's
  training) and for q in turn; for q it is a linear program, whose solution with equal costs
  is the k points that gain most. Either step lowers the objective, until q stays. That is a
  local optimum, so the best of several starts is taken: theirs, where every loss of f is
  0, which are the points that f_0 is surest of; and random flips.

  Args:
    points: x, `[N, d]`.
    signs: y, `[N]`, +1 or -1; both are there.
    count: k, from 0 to N.
    criterion: l, such as `linear_classifiers.smooth_hinge`.
    ridge: of the victim's loss, at least 0.
    key: of the random starts; consumed.
    num_starts: at least 1.
    max_steps: trainings of one start, at most.

  Raises:
    errors.InputError: k is out of its range.
  """
  _check(count, len(signs))
  with jax.enable_x64(True):
    x, y = jnp.asarray(points, jnp.float64), np.asarray(signs, np.float64)
    clean = linear_classifiers.fit_points(criterion, x, jnp.asarray(y), ridge)
    losses_of_clean = _both_losses(criterion, clean, x, y)

    def gains(params):
      """How much flipping each point adds to the sum: `[N]`; low is good."""
      difference = _both_losses(criterion, params, x, y) - losses_of_clean
      return difference[1] - difference[0]

    def descend(flipped):
      history = []
      while True:
        after = jnp.asarray(flip(y, flipped))
        params = linear_classifiers.fit_points(criterion, x, after, ridge)
        history.append(_objective(criterion, params, clean, x, after, ridge))
        best = np.sort(np.argsort(gains(params), kind="stable")[:count])
        if len(history) == max_steps or np.array_equal(best, flipped):
          return Alfa(flipped, history[-1], tuple(history))
        flipped = best

    starts = [farthest_first(clean, np.asarray(x), y, count)]
    for number in range(num_starts - 1):
      starts.append(random_flips(len(y), count, jax.random.fold_in(key, number)))
    found = [descend(start) for start in starts]
  return min(found, key=lambda each: each.objective)


def _both_losses(criterion, params, x, y) -> np.ndarray:
  """The losses of all points as they are, and flipped: `[2, N]`."""
  score = linear_classifiers.scores(params, x)
  return np.stack([np.asarray(criterion(score, jnp.asarray(s))) for s in (y, -y)])


def _objective(criterion, params, clean, x, signs, ridge) -> float:
  own, other = (
    criterion(linear_classifiers.scores(theta, x), signs).mean()
    for theta in (params, clean)
  )
  return float(own - other + 0.5 * ridge * params.weights @ params.weights)


def _check(count: int, num_points: int) -> None:
  if not 0 <= count <= num_points:
    raise errors.InputError(
      f"{count} labels are to be flipped of {num_points} points: use a number from 0 to "
      f"{num_points}"
    )
