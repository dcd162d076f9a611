"""Conjugate gradients on the normal equations, for an indefinite matrix."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from pacd_jax import types
from pacd_jax.bilevel import linear_solve


class _State(NamedTuple):
  num_steps: types.Array
  x: types.Params
  residual: types.Params  # r = b - A x
  gradient: types.Params  # z = A r
  direction: types.Params  # p
  z_dot_z: types.Array
  min_curvature: types.Array


def normal_equations(
  matvec: types.MatvecFn,
  b: types.Params,
  start: types.Params | None = None,
  *,
  max_steps: int = 10,
  tolerance: float = 0.0,
) -> tuple[types.Params, types.SolveInfo]:
  """Solves A'A x = A'b by conjugate gradients: CGNR, for any symmetric A.

  Hestenes & Stiefel (1952), section 10; Saad, "Iterative Methods for Sparse Linear
  Systems", algorithm 8.4. |b - A x| never rises, whatever the signs of A's eigenvalues;
  the cost is a squared condition number and two products per step.

  Args:
    matvec: v -> A v, damping included.
    b: right-hand side, a pytree; from a zero start, b = 0 gives x = 0 in no step.
    start: x before the first step, which costs one product; None: zero.
    max_steps: the largest number of steps, two products each.
    tolerance: the solve stops at |b - A x| <= tolerance |b|.

  Returns:
    x, shaped like b, and its `SolveInfo`: the residual is that of A x = b, the curvature
    that of A along the directions taken. The solution is valid for negative curvature too.

  Raises:
    ValueError: `start` differs from b in structure or shapes.
  """
  unit, x, scale = linear_solve.normalised(b, start)
  residual = unit if start is None else optax.tree.sub(unit, matvec(x))
  gradient = matvec(residual)
  b_dot_b = linear_solve.vdot(unit, unit)

  def unfinished(state):
    return (
      (state.num_steps < max_steps)
      & (linear_solve.vdot(state.residual, state.residual) > tolerance**2 * b_dot_b)
      & (state.z_dot_z > 0)
    )

  def step(state):
    product = matvec(state.direction)
    size = linear_solve.vdot(product, product)
    a = jnp.where(size > 0, state.z_dot_z / jnp.where(size > 0, size, 1.0), 0.0)
    residual = optax.tree.add_scale(state.residual, -a, product)
    gradient = matvec(residual)
    z_dot_z = linear_solve.vdot(gradient, gradient)
    curvature = linear_solve.curvature_along(state.direction, product)
    return _State(
      num_steps=state.num_steps + 1,
      x=optax.tree.add_scale(state.x, a, state.direction),
      residual=residual,
      gradient=gradient,
      direction=optax.tree.add_scale(gradient, z_dot_z / state.z_dot_z, state.direction),
      z_dot_z=z_dot_z,
      min_curvature=jnp.minimum(state.min_curvature, curvature),
    )

  z_dot_z = linear_solve.vdot(gradient, gradient)
  least = jnp.full_like(z_dot_z, jnp.inf)
  first = _State(jnp.int32(0), x, residual, gradient, gradient, z_dot_z, least)
  end = jax.lax.while_loop(unfinished, step, first)
  info = linear_solve.describe(
    matvec,
    unit,
    end.x,
    num_steps=end.num_steps,
    num_products=2 * end.num_steps + (1 if start is None else 2),
    min_curvature=end.min_curvature,
  )
  return optax.tree.scale(scale, end.x), info
