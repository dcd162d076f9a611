"""Attacks on linear classifiers by ApproxGrad; PACD, the bilevel problem of section 3.4.

The hypergradient and the steps are those of the attack on networks, but the lower level is
solved exactly at every step, so that Theorem 1 can be checked.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, perturbation, types
from pacd_jax.bilevel import hypergradient, linear_solve
from pacd_jax.linear_case import linear_classifiers
from pacd_jax.linear_case.linear_classifiers import CriterionFn, Linear


class Attack(NamedTuple):
  """The result of the attack from one start."""

  poison: types.Array  # `[n, d]`, u after the last step.
  params: Linear  # The victim trained on it.
  acr: types.Array  # `[T + 1]`: ACR of the negative class before each step and at the end.


class Descent(NamedTuple):
  """The points and the values of a descent of T steps."""

  poison: types.Array  # `[n, d]`, u after the last step.
  params: Linear  # The victim trained on it.
  values: types.Array  # `[T + 1]`: the upper level before each step and at the end.
  best: types.Array  # `[n, d]`, the u of the lowest value.


def descend(
  lower: types.LowerLevel,
  upper: types.UpperFn,
  start: types.Array,
  project: Callable[[types.Array], types.Array],
  *,
  step_sizes: types.Array,
  norm: str,
) -> Descent:
  """Projected descent of f(theta*(u), u) in u, where theta* is trained to convergence.

  Each step trains the victim, from the one before, takes `hypergradient.approx_grad` with
  conjugate gradients on the Hessian, moves every point along the steepest direction of the
  norm, and projects.

  Args:
    lower: g(theta, u), convex in theta, as `linear_classifiers.lower_level` makes it.
    upper: f(theta, u).
    start: u, `[n, d]`.
    project: onto what the attacker may do, `[n, d] -> [n, d]`.
    step_sizes: `[T]`, in the unit of x.
    norm: "linf" or "l2".
  """

  def step(state, size):
    u, theta, best, least = state
    params = linear_classifiers.fit(lower, u, start=theta)
    value = upper(params, u)
    best = jnp.where(value < least, u, best)
    du, _ = hypergradient.approx_grad(
      upper, lower, params, u, curvature=hypergradient.hessian, solve=_solve
    )
    direction = perturbation.steepest_direction(_by_point(du), norm=norm)
    moved = project(u - size * direction.reshape(u.shape))
    moved = jnp.where(size > 0, moved, u)
    return (moved, params, best, jnp.minimum(value, least)), value

  # One iteration more than there are moves, so that training is compiled once.
  u = project(start)
  zero = Linear(jnp.zeros(u.shape[1], u.dtype), jnp.zeros((), u.dtype))
  first = u, zero, u, jnp.asarray(jnp.inf, u.dtype)
  sizes = jnp.append(step_sizes, 0.0)
  (u, params, best, _), values = jax.lax.scan(step, first, sizes)
  return Descent(u, params, values, best)


def run(
  positive: np.ndarray,
  negative: np.ndarray,
  test: np.ndarray,
  *,
  criterion: CriterionFn,
  epsilon: float,
  norm: str = "linf",
  ridge: float = 0.0,
  step_size: float,
  num_steps: int,
  starts: np.ndarray | None = None,
) -> Attack:
  """Lowers the ACR of the negative class by moving its training points.

    min_u  (1/m) sum_j max(-(w*.x_j + b*) / |w*|, 0)   s.t.  |u_i - x_i^-| <= epsilon,
           w*, b* = argmin g(theta, u)   (`linear_classifiers.lower_level`)

  Problem (3) of Mehra et al. (2021), https://arxiv.org/abs/2012.01274, in d dimensions.
  Each step moves every point by `step_size`, as `descend` does, and projects it to the
  budget. Arrays keep their dtype: for float64, call it under `jax.enable_x64`.

  Args:
    positive: x^+, `[p, d]`.
    negative: x^-, `[n, d]`.
    test: points of the negative class, `[m, d]`, whose ACR is lowered.
    criterion: the victim's loss, such as `linear_classifiers.squared`.
    epsilon: budget of one point, in the unit of x.
    norm: "linf" or "l2".
    ridge: weight of |w|^2 / 2 in the victim's loss.
    step_size: length of a step, in the unit of x.
    num_steps: T.
    starts: initial poisons, `[S, n, d]`, which are projected; None: the clean points.

  Returns:
    An `Attack`; if starts are given, every leaf has the leading axis `[S]`.

  Raises:
    errors.InputError: a class is empty, the shapes do not match, the means are equal, or a
      number is negative or not finite.
    ValueError: the norm is unknown.
  """
  linear_classifiers.check_classes(positive, negative)
  num_features = np.shape(negative)[1]
  if np.shape(test) != (len(test), num_features) or not len(test):
    raise errors.InputError(
      f"test has the shape {np.shape(test)}: give points of {num_features} features"
    )
  for name, value in {"epsilon": epsilon, "ridge": ridge, "step_size": step_size}.items():
    if not 0.0 <= value < np.inf:
      raise errors.InputError(f"{name} is {value}: use a number from 0 on")
  if starts is not None and np.shape(starts)[1:] != np.shape(negative):
    raise errors.InputError(
      f"starts has the shape {np.shape(starts)}: give poisons as [S, n, d], each of the "
      f"shape {np.shape(negative)}"
    )
  many = _many(criterion, norm, num_steps)
  arrays = [jnp.asarray(x) for x in (positive, negative, test)]
  numbers = [jnp.asarray(x, arrays[1].dtype) for x in (epsilon, ridge, step_size)]
  if starts is None:
    result = many(*arrays, *numbers, arrays[1][None])
    return jax.tree.map(lambda leaf: leaf[0], result)
  return many(*arrays, *numbers, jnp.asarray(starts))


@functools.cache
def _many(criterion: CriterionFn, norm: str, num_steps: int) -> Callable[..., Attack]:
  """The compiled function of `run`, mapped over starts."""

  def one(positive, negative, test, epsilon, ridge, step_size, start):
    lower = linear_classifiers.lower_level(criterion, positive, ridge=ridge)

    def project(u):
      delta = _by_point(u - negative)
      projected = perturbation.project(delta, epsilon=epsilon, norm=norm)
      return negative + projected.reshape(negative.shape)

    def upper(params, u):
      del u
      return linear_classifiers.negative_acr(params, test)

    step_sizes = jnp.full(num_steps, step_size)
    found = descend(lower, upper, start, project, step_sizes=step_sizes, norm=norm)
    return Attack(found.poison, found.params, found.values)

  return jax.jit(jax.vmap(one, in_axes=(None,) * 6 + (0,)))


def _by_point(points: types.Array) -> types.Array:
  """Reshapes `[n, d]` to the image shape that `perturbation` takes."""
  return points[:, None, :, None]


def _solve(matvec, b, start):
  """Conjugate gradients with two steps per unknown, the second against rounding."""
  num_steps = 2 * sum(leaf.size for leaf in jax.tree.leaves(b))
  return linear_solve.conjugate_gradient(
    matvec, b, start, max_steps=num_steps, tolerance=1e-14
  )
