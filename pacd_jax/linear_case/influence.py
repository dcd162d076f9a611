"""Influence functions, and the leave-one-out retraining that they stand for.

Koh and Liang (2017), https://arxiv.org/abs/1703.04730. With a weight s_i on each
training loss, theta*(s) = argmin (1/N) sum_i s_i l(z_i; theta) + ridge/2 |W|^2, the
influence of z_i on a function f of theta is a hypergradient with respect to s_i:

  df/ds_i = -(1/N) grad f(theta*)' H^-1 grad l(z_i; theta*),

so `hypergradient.approx_grad` gives it, with any of the package's solvers. Taking z_i out
is s_i from 1 to 0, so f changes by about -df/ds_i.

The model is softmax regression, logits = x W + b: a convex problem, whose solution can be
found again without a point. In the shape descriptions `d` is the number of features.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.linalg
import scipy.special

from pacd_jax import errors, types
from pacd_jax.bilevel import hypergradient, linear_solve


class Softmax(NamedTuple):
  """theta; arrays of NumPy or JAX."""

  weights: np.ndarray  # `[d, K]`, W.
  bias: np.ndarray  # `[K]`, b.


class Problem(NamedTuple):
  """What softmax regression is trained on."""

  points: np.ndarray  # float64 `[N, d]`.
  labels: np.ndarray  # int `[N]` in [0, K).
  num_classes: int  # K
  ridge: float  # Above 0, of W and b: the solution is unique.


def problem(
  points: np.ndarray, labels: np.ndarray, *, num_classes: int, ridge: float
) -> Problem:
  """Checks what a `Problem` is made of.

  Raises:
    errors.InputError: shapes do not fit, a class has no point, the ridge is not above 0,
      or a point is not finite.
  """
  points, labels = np.asarray(points, np.float64), np.asarray(labels)
  if points.ndim != 2 or labels.shape != points.shape[:1]:
    raise errors.InputError(
      f"points {points.shape} and labels {labels.shape}: give [N, d] and [N]"
    )
  if not np.isfinite(points).all():
    row = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
    raise errors.InputError(f"point {row} has a value that is not finite: leave it out")
  absent = np.setdiff1d(np.arange(num_classes), labels)
  if absent.size or len(np.unique(labels)) != num_classes:
    known = f"labels {np.unique(labels).tolist()} of {num_classes} classes"
    raise errors.InputError(f"{known}: give at least one point of each, and no other")
  if num_classes < 2:
    raise errors.InputError("all labels are one: a classifier needs two classes")
  if not 0.0 < ridge < np.inf:
    raise errors.InputError(f"ridge is {ridge}: use a number above 0")
  return Problem(points, labels.astype(np.int64), num_classes, ridge)


def fit(problem: Problem, *, tolerance: float = 1e-12) -> Softmax:
  """theta*, to a gradient of at most `tolerance`: Newton's method with step halving."""
  theta = np.zeros((problem.points.shape[1] + 1, problem.num_classes))
  weights = np.ones((1, len(problem.labels)))
  size = np.inf
  for _ in range(100):
    gradient = _gradients(problem, theta[None], weights)[0]
    size = np.linalg.norm(gradient)
    if size <= tolerance:
      return _unpack(theta)
    step = scipy.linalg.cho_solve(_factor(problem, theta), gradient.ravel())
    for halvings in range(30):  # In a strictly convex problem, |gradient| falls along it.
      moved = theta - 0.5**halvings * step.reshape(theta.shape)
      after = np.linalg.norm(_gradients(problem, moved[None], weights)[0])
      if after < size:
        break
    theta = moved
  raise errors.NonFiniteError(f"softmax regression: the gradient is still {size:.1e}")


def leave_one_out(
  problem: Problem,
  params: Softmax,
  indices: np.ndarray,
  *,
  tolerance: float = 1e-12,
  at_once: int = 32,
) -> Softmax:
  """theta* without each of some points, retrained to a gradient of `tolerance`.

    argmin_theta (1/N) sum_{j != i} l(z_j; theta) + ridge/2 |theta|^2

  by Newton steps from theta* with the Hessian that theta* has, many points at once: each
  step's error is a small share of the last one's, as one point of N changes little.

  Args:
    problem: with all points.
    params: theta*.
    indices: `[M]`, which points to leave out, each alone.
    tolerance: of every gradient.
    at_once: points retrained side by side, which bounds the memory.

  Returns:
    Parameters with `[M]` in front of every leaf.

  Raises:
    errors.NonFiniteError: a gradient has not become as small.
  """
  start = np.concatenate([params.weights, params.bias[None]])
  factor, found = _factor(problem, start), []
  for first in range(0, len(indices), at_once):
    some = np.asarray(indices)[first : first + at_once]
    weights = np.ones((len(some), len(problem.labels)))
    weights[np.arange(len(some)), some] = 0.0
    theta = np.repeat(start[None], len(some), axis=0)
    for _ in range(200):
      gradients = _gradients(problem, theta, weights).reshape(len(some), -1)
      if np.linalg.norm(gradients, axis=1).max() <= tolerance:
        break
      theta = theta - scipy.linalg.cho_solve(factor, gradients.T).T.reshape(theta.shape)
    else:
      raise errors.NonFiniteError("leave-one-out: a gradient does not become small")
    found.append(theta)
  return _unpack(np.concatenate(found))


def mean_loss(params: Softmax, points: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """f: the mean cross-entropy of some points, `[]`, or `[M]` for parameters `[M, ...]`."""
  logits = points @ params.weights + params.bias[..., None, :]
  log_probs = scipy.special.log_softmax(logits, axis=-1)
  return -log_probs[..., np.arange(len(labels)), labels].mean(axis=-1)


def of_points(
  problem: Problem,
  params: Softmax,
  points: np.ndarray,
  labels: np.ndarray,
  *,
  max_steps: int = 1000,
  tolerance: float = 1e-10,
) -> tuple[np.ndarray, types.SolveInfo]:
  """df/ds_i for every training point: its influence on the mean loss of some points.

  I_up,loss of Koh and Liang (2017), equation 2, over N: positive where more of the point
  makes f larger. Leaving it out changes f by about the negative of it. By
  `hypergradient.approx_grad`, with conjugate gradients on the Hessian, in float64.

  Args:
    problem: the training points.
    params: theta*, as `fit` gives it.
    points: `[m, d]`, those of f (`mean_loss`).
    labels: `[m]`.
    max_steps, tolerance: of the conjugate gradients.

  Returns:
    `[N]`, and how the solve went.
  """
  with jax.enable_x64(True):
    theta = jax.tree.map(jnp.asarray, params)
    ones = jnp.ones(len(problem.labels))
    arrays = [jnp.asarray(x) for x in (problem.points, problem.labels, points, labels)]
    du, info = _influence(theta, ones, *arrays, problem.ridge, max_steps, tolerance)
    return np.asarray(du), info


@functools.partial(jax.jit, static_argnums=(7, 8))
def _influence(
  theta, weights, train_points, train_labels, points, labels, ridge, max_steps, tolerance
):
  def losses(params, points, labels):
    logits = points @ params.weights + params.bias[None]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)

  def outputs(params, weights):
    penalty = 0.5 * ridge * optax.tree.vdot(params, params)
    return jnp.mean(weights * losses(params, train_points, train_labels)) + penalty

  def upper(params, weights):
    del weights
    return losses(params, points, labels).mean()

  du, info = hypergradient.approx_grad(
    upper,
    types.LowerLevel(outputs, lambda value: value),
    theta,
    weights,
    curvature=hypergradient.hessian,
    solve=functools.partial(
      linear_solve.conjugate_gradient, max_steps=max_steps, tolerance=tolerance
    ),
  )
  return du, info.solve


# --- the problem in NumPy, by its own formulas ----------------------------------------


def _unpack(theta: np.ndarray) -> Softmax:
  return Softmax(theta[..., :-1, :], theta[..., -1, :])


def _with_one(points: np.ndarray) -> np.ndarray:
  return np.concatenate([points, np.ones((len(points), 1))], axis=1)


def _probabilities(problem: Problem, theta: np.ndarray) -> np.ndarray:
  return scipy.special.softmax(_with_one(problem.points) @ theta, axis=-1)


def _gradients(problem: Problem, theta: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """Of M weighted problems at M thetas: `[M, d + 1, K]`, `[M, N]` -> `[M, d + 1, K]`."""
  residual = _probabilities(problem, theta)
  residual[:, np.arange(len(problem.labels)), problem.labels] -= 1.0
  residual *= weights[:, :, None] / len(problem.labels)
  return _with_one(problem.points).T @ residual + problem.ridge * theta


def _factor(problem: Problem, theta: np.ndarray):
  """The Hessian's Cholesky factor, `[(d + 1) K] * 2`, of all points."""
  inputs, probs = _with_one(problem.points), _probabilities(problem, theta)
  num_features, num_classes = theta.shape
  squares = (inputs[:, :, None] * inputs[:, None, :]).reshape(len(inputs), -1)
  i, j = np.tril_indices(num_classes)
  shares = probs[:, i] * ((i == j) - probs[:, j]) / len(inputs)
  blocks = np.empty((num_classes, num_classes, num_features, num_features))
  blocks[i, j] = blocks[j, i] = (shares.T @ squares).reshape(-1, *blocks.shape[2:])
  hessian = blocks.transpose(2, 0, 3, 1).reshape(theta.size, theta.size)
  hessian[np.diag_indices(theta.size)] += problem.ridge
  return scipy.linalg.cho_factor(hessian, overwrite_a=True, check_finite=False)
