"""The truncated Neumann series, scaled so that it converges."""

import jax.numpy as jnp
import optax

from pacd_jax import types
from pacd_jax.bilevel import linear_solve


def neumann(
  matvec: types.MatvecFn,
  b: types.Params,
  start: types.Params | None = None,
  *,
  num_steps: int = 10,
  scale: float = 1.0,
  power_steps: int = 5,
) -> tuple[types.Params, types.SolveInfo]:
  """x = eta sum_{j < num_steps} (I - eta A)^j b, with eta = scale / lambda_max.

  Lorraine, Vicol & Duvenaud (2020), arXiv:1911.02590. The series is the recurrence
  x <- x + eta (b - A x), which needs 0 < eta < 2 / lambda_max: with eta = 1 it would
  diverge on any A whose largest eigenvalue is over 2. Power steps estimate lambda_max from
  below; `linear_solve.descend` shortens steps that are too long all the same.

  Args:
    matvec: v -> A v, positive definite, damping included.
    b: right-hand side, a pytree; from a zero start, b = 0 gives x = 0.
    start: x before the first step, which costs one product; None: zero.
    num_steps: terms of the series, one product each.
    scale: in (0, 2).
    power_steps: products that estimate lambda_max.

  Returns:
    x, shaped like b, and its `SolveInfo`. The recurrence does not stop at negative
    curvature, along which x grows.

  Raises:
    ValueError: `start` differs from b in structure or shapes.
  """
  unit, x, size = linear_solve.normalised(b, start)
  largest = linear_solve.largest_eigenvalue(matvec, unit, num_products=power_steps)
  residual = unit if start is None else optax.tree.sub(unit, matvec(x))
  eta = scale / jnp.where(largest > 0, largest, 1.0)
  x, _, least = linear_solve.descend(
    matvec, x, residual, num_steps=num_steps, step_size=eta
  )
  info = linear_solve.describe(
    matvec,
    unit,
    x,
    num_steps=num_steps,
    num_products=num_steps + power_steps + (0 if start is None else 1),
    min_curvature=least,
  )
  return optax.tree.scale(size, x), info
