"""Influence functions, and the leave-one-out retraining that they approximate.

Koh and Liang (2017), https://arxiv.org/abs/1703.04730. With a weight s_i on each
training loss, theta*(s) = argmin (1/N) sum_i s_i l(z_i; theta) + ridge/2 |theta|^2, the
influence of z_i on a function f of theta is a hypergradient with respect to s_i:

  df/ds_i = -(1/N) grad f(theta*)' H^-1 grad l(z_i; theta*),

so `hypergradient.approx_grad` computes it, with any of the package's solvers. Leaving out
z_i changes s_i from 1 to 0, and so f by about -df/ds_i.

The model is softmax regression, logits = x W + b: a convex problem, for which retraining
without a point is exact. In the shape descriptions `d` is the number of features.
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
  """The parameters theta, as arrays of NumPy or JAX."""

  weights: np.ndarray  # `[d, K]`, W.
  bias: np.ndarray  # `[K]`, b.


class Problem(NamedTuple):
  """The training problem of softmax regression."""

  points: np.ndarray  # float64 `[N, d]`.
  labels: np.ndarray  # int `[N]` in [0, K).
  num_classes: int  # K
  ridge: float  # Above 0, on W and b, so that the solution is unique.


def problem(
  points: np.ndarray, labels: np.ndarray, *, num_classes: int, ridge: float
) -> Problem:
  """Makes a `Problem` after checking its parts.

  Raises:
    errors.InputError: the shapes do not match, labels are not 0..K-1 with K >= 2 and each
      at least once, the ridge is not above 0, or a point is not finite.
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
  """theta*, with |gradient| at most `tolerance`, by Newton's method with step halving."""
  theta = np.zeros((problem.points.shape[1] + 1, problem.num_classes))
  theta, size = _newton(problem, theta, np.ones(len(problem.labels)), tolerance)
  if size <= tolerance:
    return _unpack(theta)
  raise errors.NonFiniteError(f"softmax regression: the gradient is still {size:.1e}")


def _newton(
  problem: Problem, theta: np.ndarray, weights: np.ndarray, tolerance: float
) -> tuple[np.ndarray, float]:
  """Newton's method with step halving on a weighted problem; (theta, |gradient|)."""
  gradient = _gradients(problem, theta[None], weights[None])[0]
  for _ in range(100):
    size = np.linalg.norm(gradient)
    if size <= tolerance:
      break
    step = scipy.linalg.cho_solve(_factor(problem, theta, weights), gradient.ravel())
    for halvings in range(30):  # In strictly convex problems |gradient| falls along it.
      moved = theta - 0.5**halvings * step.reshape(theta.shape)
      gradient = _gradients(problem, moved[None], weights[None])[0]
      if np.linalg.norm(gradient) < size:
        break
    theta = moved
  return theta, float(np.linalg.norm(gradient))


def leave_one_out(
  problem: Problem,
  params: Softmax,
  indices: np.ndarray,
  *,
  tolerance: float = 1e-12,
  at_once: int = 32,
) -> Softmax:
  """Retrains without each of the given points, to |gradient| of at most `tolerance`.

    argmin_theta (1/N) sum_{j != i} l(z_j; theta) + ridge/2 |theta|^2

  by Newton steps from theta* with the Hessian at theta*, for many points at once. The error
  shrinks by a large factor in each step, as leaving out one of N points changes little. A
  point that changes more, so that these steps do not converge, is retrained by itself, by
  Newton's method with its own Hessian and step halving.

  Args:
    problem: the problem with all points.
    params: theta*.
    indices: `[M]`, the points to leave out, one at a time.
    tolerance: largest norm of the gradients.
    at_once: points retrained side by side, which bounds the memory.

  Returns:
    Parameters; every leaf has the leading axis `[M]`.

  Raises:
    errors.NonFiniteError: a gradient's norm stays above the tolerance; names the point.
  """
  start = np.concatenate([params.weights, params.bias[None]])
  factor, found = _factor(problem, start), []
  for first in range(0, len(indices), at_once):
    some = np.asarray(indices)[first : first + at_once]
    weights = np.ones((len(some), len(problem.labels)))
    weights[np.arange(len(some)), some] = 0.0
    theta = np.repeat(start[None], len(some), axis=0)
    sizes = np.full(len(some), np.inf)
    for _ in range(200):
      gradients = _gradients(problem, theta, weights).reshape(len(some), -1)
      sizes = np.linalg.norm(gradients, axis=1)
      if not (sizes > tolerance).any() or not np.isfinite(sizes).all():
        break
      theta = theta - scipy.linalg.cho_solve(factor, gradients.T).T.reshape(theta.shape)
    for place in np.flatnonzero(~(sizes <= tolerance)):
      theta[place], size = _newton(problem, start, weights[place], tolerance)
      if not size <= tolerance:
        raise errors.NonFiniteError(
          f"leave-one-out: without point {some[place]}, the gradient is still {size:.1e}"
        )
    found.append(theta)
  return _unpack(np.concatenate(found))


def mean_loss(params: Softmax, points: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """The mean cross-entropy of given points: `[]`, or `[M]` for parameters `[M, ...]`."""
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
  """df/ds_i for every training point: its influence on the mean loss f of given points.

  It is I_up,loss of Koh and Liang (2017), equation 2, divided by N: positive where more
  weight on the training point increases f. Leaving the point out changes f by about minus
  this value. It is computed by `hypergradient.approx_grad`, with conjugate gradients on the
  Hessian, in float64.

  Args:
    problem: the training problem.
    params: theta*, as `fit` returns it.
    points: `[m, d]`, the points of f (`mean_loss`).
    labels: `[m]`, their labels.
    max_steps, tolerance: settings of the conjugate gradients.

  Returns:
    The influences `[N]`, and a record of the solve.
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


# --- the problem in NumPy, by explicit formulas ---------------------------------------


def _unpack(theta: np.ndarray) -> Softmax:
  return Softmax(theta[..., :-1, :], theta[..., -1, :])


def _with_one(points: np.ndarray) -> np.ndarray:
  return np.concatenate([points, np.ones((len(points), 1))], axis=1)


def _probabilities(problem: Problem, theta: np.ndarray) -> np.ndarray:
  return scipy.special.softmax(_with_one(problem.points) @ theta, axis=-1)


def _gradients(problem: Problem, theta: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """The gradients of M weighted problems: `[M, d + 1, K]`, `[M, N]` -> `[M, d + 1, K]`."""
  residual = _probabilities(problem, theta)
  residual[:, np.arange(len(problem.labels)), problem.labels] -= 1.0
  residual *= weights[:, :, None] / len(problem.labels)
  return _with_one(problem.points).T @ residual + problem.ridge * theta


def _factor(problem: Problem, theta: np.ndarray, weights: np.ndarray | None = None):
  """The Cholesky factor of the Hessian, `[(d + 1) K, (d + 1) K]`; weights `[N]`, or 1."""
  inputs, probs = _with_one(problem.points), _probabilities(problem, theta)
  num_features, num_classes = theta.shape
  squares = (inputs[:, :, None] * inputs[:, None, :]).reshape(len(inputs), -1)
  i, j = np.tril_indices(num_classes)
  shares = probs[:, i] * ((i == j) - probs[:, j]) / len(inputs)
  if weights is not None:
    shares = shares * weights[:, None]
  blocks = np.empty((num_classes, num_classes, num_features, num_features))
  blocks[i, j] = blocks[j, i] = (shares.T @ squares).reshape(-1, *blocks.shape[2:])
  hessian = blocks.transpose(2, 0, 3, 1).reshape(theta.size, theta.size)
  hessian[np.diag_indices(theta.size)] += problem.ridge
  return scipy.linalg.cho_factor(hessian, overwrite_a=True, check_finite=False)
