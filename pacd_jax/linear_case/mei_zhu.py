"""Training-set attacks by KKT conditions on SVM, logistic regression and least squares.

Mei and Zhu (2015), "Using machine teaching to identify optimal training-set attacks on
machine learners", AAAI, https://doi.org/10.1609/aaai.v29i1.9569. In the shape descriptions
`d` is the number of features.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types
from pacd_jax.linear_case import linear_attack, linear_classifiers
from pacd_jax.linear_case.linear_classifiers import CriterionFn


class Moved(NamedTuple):
  """The points as the attack leaves them."""

  points: np.ndarray  # `[n, d]` in [0, 1], those at the positions given.
  params: linear_classifiers.Linear  # The victim trained on them and the others.
  values: np.ndarray  # `[T + 1]`: risk and effort before each step and at the end.


def run(
  points: np.ndarray,
  signs: np.ndarray,
  positions: np.ndarray,
  *,
  risk: types.UpperFn,
  criterion: CriterionFn,
  ridge: float,
  effort: float = 0.0,
  step_size: float = 1.0,
  num_steps: int = 120,
) -> Moved:
  """Moves some training points so that the victim's parameters are as the attacker wants.

    min_u R(theta*(u)) + effort / (2 n) sum_j |u_j - x_j|^2   s.t.  u_j in [0, 1]^d,
    theta* = argmin g(theta, u)

  with g as `linear_classifiers.lower_level` has it. Where Mei and Zhu replace the victim's
  training by its KKT conditions and differentiate these, `linear_attack.descend` does the
  same by `hypergradient.approx_grad`: for a convex loss without constraints the conditions
  are grad_theta g = 0. The SVM's hinge is the smooth one of `linear_classifiers`, whose
  Hessian counts the points near its kink, their points on the margin. The point with the
  lowest value is kept; step sizes fall linearly to 0.

  Args:
    points: x, `[N, d]` in [0, 1].
    signs: y, `[N]`, +1 or -1.
    positions: of the n points that move; their signs stay.
    risk: R as f(theta, u), of `aims`.
    criterion: the victim's loss.
    ridge: of the victim's loss.
    effort: weight of the changes, at least 0.
    step_size: of a point's first step, in the unit of x (l2).
    num_steps: T.

  Raises:
    errors.InputError: a class has no point, nothing is to move, or a number is negative.
  """
  points, signs = np.asarray(points, np.float64), np.asarray(signs, np.float64)
  linear_classifiers.check_classes(points[signs > 0], points[signs < 0])
  if not len(positions):
    raise errors.InputError("no point is to be moved: move at least one")
  for name, value in {"effort": effort, "step_size": step_size, "ridge": ridge}.items():
    if not 0.0 <= value < np.inf:
      raise errors.InputError(f"{name} is {value}: use a number from 0 on")
  with jax.enable_x64(True):
    stay = np.setdiff1d(np.arange(len(points)), positions)
    base = jnp.asarray(points[positions])
    lower = linear_classifiers.lower_level(
      criterion,
      jnp.asarray(points[stay]),
      ridge=ridge,
      signs=jnp.asarray(signs[stay]),
      signs_of_poison=jnp.asarray(signs[positions]),
    )

    def upper(params, u):
      return risk(params, u) + 0.5 * effort * jnp.sum((u - base) ** 2) / len(base)

    @jax.jit
    def descend(start):
      sizes = step_size * (1.0 - jnp.arange(num_steps) / max(num_steps, 1))
      found = linear_attack.descend(
        lower,
        upper,
        start,
        lambda u: jnp.clip(u, 0.0, 1.0),
        step_sizes=sizes,
        norm="l2",
      )
      return found.best, linear_classifiers.fit(lower, found.best), found.values

    best, params, values = descend(base)
    return Moved(np.asarray(best), jax.tree.map(np.asarray, params), np.asarray(values))
