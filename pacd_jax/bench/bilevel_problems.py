"""Small bilevel problems whose hypergradient is known exactly, for comparing methods.

All are in float64 and drawn from fixed seeds. Each lower level has the weights of its ridge
term among its outputs, so that the Gauss-Newton matrix includes the term: for a linear
model, that matrix is the Hessian.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from pacd_jax import types
from pacd_jax.bilevel import hypergradient

NET_SIZES = (24, 14, 10)  # (24 + 1) 14 + (14 + 1) 10 = 500 parameters.


class Problem(NamedTuple):
  """A bilevel problem at one (theta, u)."""

  title: str
  upper: types.UpperFn
  lower: types.LowerLevel
  params: types.Params
  poison: types.Array


def ridge() -> Problem:
  """|U w - y|^2 / 2N + ridge |w|^2 / 2, 20 weights, condition number 230; u is U."""
  rng = np.random.default_rng(0)
  scales = np.geomspace(1.0, 0.05, 20)
  u, v = rng.normal(size=(60, 20)) * scales, rng.normal(size=(30, 20)) * scales
  y, z = rng.normal(size=60), rng.normal(size=30)

  def criterion(outputs):
    predicted, w = outputs
    return jnp.sum((predicted - y) ** 2) / (2 * len(y)) + 0.5 * 3e-3 * w @ w

  def upper(w, u):
    del u
    return 0.5 * jnp.mean((v @ w - z) ** 2)

  w = np.linalg.solve(u.T @ u / 60 + 3e-3 * np.eye(20), u.T @ y / 60)
  lower = types.LowerLevel(lambda w, u: (u @ w, w), criterion)
  return Problem("ridge regression", upper, lower, jnp.asarray(w), jnp.asarray(u))


def logistic() -> Problem:
  """Softmax regression, 10 features and 5 classes; u `[40, 11]` is pixels, then weights.

  The weight of an example multiplies its cross-entropy: data weights and pixels at once.
  """
  rng = np.random.default_rng(1)
  images, labels = _clusters(rng, num=40, size=10, num_classes=5)
  points, targets = _clusters(rng, num=30, size=10, num_classes=5)
  u = np.concatenate([images, rng.uniform(0.5, 1.5, size=(40, 1))], axis=1)

  def criterion(outputs):
    logits, weights, w = outputs
    return jnp.mean(weights * _cross_entropy(logits, labels)) + 0.5 * 1e-2 * jnp.sum(w**2)

  def upper(w, u):
    del u
    return jnp.mean(_cross_entropy(points @ w, targets))

  lower = types.LowerLevel(lambda w, u: (u[:, :10] @ w, u[:, 10], w), criterion)
  u = jnp.asarray(u)
  w = minimise(lower, jnp.zeros((10, 5)), u)
  return Problem("logistic regression", upper, lower, w, u)


def net(*, trained: bool = True) -> Problem:
  """A tanh net of 500 parameters on 100 points, the last 20 of which are u `[20, 24]`.

  It is trained by `minimise`, or as it was drawn.
  """
  rng = np.random.default_rng(2)
  images, labels = _clusters(rng, num=100, size=NET_SIZES[0], num_classes=NET_SIZES[2])
  points, targets = _clusters(rng, num=50, size=NET_SIZES[0], num_classes=NET_SIZES[2])
  clean, u = images[:80], jnp.asarray(images[80:])

  def apply(params, x):
    hidden = jnp.tanh(x @ params["w1"] + params["b1"][None])
    return hidden @ params["w2"] + params["b2"][None]

  def criterion(outputs):
    logits, flat = outputs
    return jnp.mean(_cross_entropy(logits, labels)) + 0.5 * 1e-2 * flat @ flat

  def outputs(params, u):
    return apply(params, jnp.concatenate([clean, u])), ravel_pytree(params)[0]

  def upper(params, u):
    del u
    return jnp.mean(_cross_entropy(apply(params, points), targets))

  size, hidden, num_classes = NET_SIZES
  params = {
    "w1": jnp.asarray(rng.normal(size=(size, hidden)) / np.sqrt(size)),
    "b1": jnp.zeros(hidden),
    "w2": jnp.asarray(rng.normal(size=(hidden, num_classes)) / np.sqrt(hidden)),
    "b2": jnp.zeros(num_classes),
  }
  lower = types.LowerLevel(outputs, criterion)
  if not trained:
    return Problem("net, untrained", upper, lower, params, u)
  params = minimise(lower, params, u)
  return Problem("net of 500 parameters", upper, lower, params, u)


def _clusters(rng, *, num, size, num_classes):
  """Points around a centre for each class, mostly in [0, 1], with their labels."""
  centres = np.random.default_rng(3).uniform(size=(num_classes, size))
  labels = rng.integers(num_classes, size=num)
  return centres[labels] + 0.3 * rng.normal(size=(num, size)), labels


def _cross_entropy(logits, labels):
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def minimise(
  lower: types.LowerLevel, params: types.Params, poison: types.Array
) -> types.Params:
  """Minimises over theta to a gradient norm of 1e-10: damped Newton, dense Hessian.

  The damping is Levenberg and Marquardt's: more after a step that does not descend.

  Raises:
    ArithmeticError: the gradient norm is not reached.
  """
  flat, unravel = ravel_pytree(params)
  derivatives = functools.partial(_derivatives, lower, unravel)
  flat, damping = np.asarray(flat), 1.0
  now, gradient, hessian = map(np.asarray, derivatives(flat, poison))
  for _ in range(300):
    size = np.linalg.norm(gradient)
    if size < 1e-11 or damping > 1e6:
      break
    there = flat - np.linalg.solve(hessian + damping * np.eye(flat.size), gradient)
    then, *others = map(np.asarray, derivatives(there, poison))
    # Close to the end, values are equal up to rounding.
    if then < now or (size < 1e-5 and np.linalg.norm(others[0]) < size):
      flat, now, (gradient, hessian), damping = there, then, others, damping / 4.0
    else:
      damping *= 4.0
  if not np.linalg.norm(gradient) < 1e-10:
    raise ArithmeticError(f"the gradient is still {np.linalg.norm(gradient)}")
  return unravel(jnp.asarray(flat))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _derivatives(lower, unravel, flat, poison):
  """The lower level, its gradient and its Hessian in theta as a vector."""

  def value(theta):
    return lower(unravel(theta), poison)

  return value(flat), jax.grad(value)(flat), jax.hessian(value)(flat)


def dense(problem: Problem, curvature: types.CurvatureFn) -> np.ndarray:
  """The dense matrix of a curvature."""
  flat, unravel = ravel_pytree(problem.params)
  matvec = curvature(problem.lower, problem.params, problem.poison).matvec

  @jax.jit
  def product(v):
    return ravel_pytree(matvec(unravel(v)))[0]

  return np.asarray(jax.lax.map(product, jnp.eye(flat.size)))


def exact(
  problem: Problem, curvature: types.CurvatureFn = hypergradient.hessian
) -> np.ndarray:
  """The hypergradient by a dense solve: with the Hessian, at a minimum, the true one."""
  matrix = dense(problem, curvature)

  def solve(matvec, b, start):
    del matvec, start
    flat, unravel = ravel_pytree(b)
    num_products = jnp.int32(flat.size)  # As many as the matrix took.
    info = types.SolveInfo(jnp.int32(1), num_products, None, None, None)
    return unravel(jnp.linalg.solve(matrix, flat)), info

  du, _ = hypergradient.approx_grad(
    problem.upper,
    problem.lower,
    problem.params,
    problem.poison,
    curvature=curvature,
    solve=solve,
  )
  return np.asarray(du)
