"""Linear systems with a matrix known only by its products, and how the solve went."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from pacd_jax import types

_vdot = optax.tree.vdot


def _axpy(a, x, y):
  """y + a x over pytrees."""
  return jax.tree.map(lambda xi, yi: yi + a * xi, x, y)


def damped(matvec: types.MatvecFn, damping: float) -> types.MatvecFn:
  """v -> (A + damping I) v."""
  return lambda v: _axpy(damping, v, matvec(v))


def identity(matvec: types.MatvecFn, b: types.Params):
  """x = b: the first-order answer, for comparison. One product tells its residual."""
  product = matvec(b)
  b_dot_b = _vdot(b, b)
  nonzero = b_dot_b > 0
  norm = jnp.where(nonzero, b_dot_b, 1.0)
  residual = jax.tree.map(jnp.subtract, b, product)
  info = types.SolveInfo(
    num_steps=jnp.int32(0),
    relative_residual=jnp.sqrt(_vdot(residual, residual) / norm),
    negative_curvature=nonzero & (_vdot(b, product) <= 0),
    min_curvature=_vdot(b, product) / norm,
  )
  return b, info


class _CgState(NamedTuple):
  num_steps: types.Array
  x: types.Params
  residual: types.Params  # b - A x
  direction: types.Params  # p
  r_dot_r: types.Array
  negative_curvature: types.Array
  min_curvature: types.Array


def conjugate_gradient(
  matvec: types.MatvecFn,
  b: types.Params,
  *,
  max_steps: int = 10,
  tolerance: float = 0.0,
) -> tuple[types.Params, types.SolveInfo]:
  """Solves A x = b for a symmetric positive definite A by conjugate gradients.

  Hestenes & Stiefel (1952), from x = 0. `jax.scipy.sparse.linalg.cg` returns no record of
  its steps, and a lower level that is not convex needs one: on a direction p with
  p'Ap <= 0 the solve stops there and says so, as in Newton-CG (Nocedal & Wright,
  "Numerical Optimization", algorithm 7.1): x so far, or b itself in the first step.

  Args:
    matvec: v -> A v.
    b: right-hand side, a pytree; 0 gives 0 in no step.
    max_steps: most products with A.
    tolerance: stops at |b - A x| <= tolerance |b|.

  Returns:
    x like b, and its `SolveInfo`.
  """
  # Solved for b over its largest entry: no square underflows where b is nearly zero.
  largest = optax.tree.norm(b, ord="inf")
  scale = jnp.where(largest > 0, largest, 1.0)
  unit = jax.tree.map(lambda leaf: leaf / scale, b)
  end = _iterate(matvec, unit, max_steps, tolerance)
  # Newton-CG's answer to negative curvature at once: b itself.
  first = end.negative_curvature & (end.num_steps == 0)
  x = jax.tree.map(lambda xi, bi: jnp.where(first, bi, xi), end.x, unit)
  # One more product tells the true residual; the recurrence's drifts in float32.
  residual = jax.tree.map(jnp.subtract, unit, matvec(x))
  info = types.SolveInfo(
    num_steps=end.num_steps,
    relative_residual=optax.tree.norm(residual) / jnp.maximum(optax.tree.norm(unit), 1.0),
    negative_curvature=end.negative_curvature,
    min_curvature=jnp.where(jnp.isposinf(end.min_curvature), 0.0, end.min_curvature),
  )
  return jax.tree.map(lambda leaf: leaf * scale, x), info


def _iterate(matvec, b, max_steps: int, tolerance: float) -> _CgState:
  """The recurrence, until it has converged, met negative curvature, or run out of steps."""
  b_dot_b = _vdot(b, b)

  def unfinished(state):
    return (
      (state.num_steps < max_steps)
      & (state.r_dot_r > tolerance**2 * b_dot_b)
      & ~state.negative_curvature
    )

  def step(state):
    product = matvec(state.direction)
    p_a_p = _vdot(state.direction, product)
    curvature = p_a_p / _vdot(state.direction, state.direction)
    stop = ~(p_a_p > 0)
    a = jnp.where(stop, 0.0, state.r_dot_r / jnp.where(stop, 1.0, p_a_p))
    residual = _axpy(-a, product, state.residual)
    r_dot_r = _vdot(residual, residual)
    return _CgState(
      num_steps=state.num_steps + jnp.where(stop, 0, 1),
      x=_axpy(a, state.direction, state.x),
      residual=residual,
      direction=_axpy(r_dot_r / state.r_dot_r, state.direction, residual),
      r_dot_r=r_dot_r,
      negative_curvature=stop,
      min_curvature=jnp.minimum(state.min_curvature, curvature),
    )

  start = _CgState(
    num_steps=jnp.int32(0),
    x=jax.tree.map(jnp.zeros_like, b),
    residual=b,
    direction=b,
    r_dot_r=b_dot_b,
    negative_curvature=jnp.bool_(False),
    min_curvature=jnp.full_like(b_dot_b, jnp.inf),
  )
  return jax.lax.while_loop(unfinished, step, start)
