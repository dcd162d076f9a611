"""Single-loop bilevel optimisation: a few steps on the linear system per outer step."""

import optax

from pacd_jax import types
from pacd_jax.bilevel import linear_solve


def single_loop(
  matvec: types.MatvecFn,
  b: types.Params,
  start: types.Params | None = None,
  *,
  num_steps: int = 1,
  step_size: float = 1.0,
) -> tuple[types.Params, types.SolveInfo]:
  """v <- v + eta (b - A v): gradient steps on v'Av / 2 - b'v, from the previous v.

  One step is SOBA (Dagreou et al., 2022, arXiv:2201.13409), a few are AmIGO (Arbel &
  Mairal, 2022, arXiv:2111.14580). One solve need not converge: v follows the solution over
  outer steps, so `start` must be v of the previous outer step. From zero, one step gives a
  multiple of b, the first-order answer.

  Args:
    matvec: v -> A v, positive definite, damping included.
    b: right-hand side, a pytree; from a zero start, b = 0 gives v = 0.
    start: v of the previous outer step, which costs one product; None: zero.
    num_steps: number of steps, one product each.
    step_size: eta, above 0; shortened where it is too long (`linear_solve.descend`).

  Returns:
    v, shaped like b, and its `SolveInfo`; the residual is updated without a product.

  Raises:
    ValueError: `start` differs from b in structure or shapes.
  """
  unit, v, scale = linear_solve.normalised(b, start)
  product = None if start is None else matvec(v)
  residual = unit if product is None else optax.tree.sub(unit, product)
  v, residual, least = linear_solve.descend(
    matvec, v, residual, num_steps=num_steps, step_size=step_size
  )
  carried = optax.tree.sub(unit, residual)  # A v.
  info = linear_solve.describe(
    lambda _: carried,
    unit,
    v,
    num_steps=num_steps,
    num_products=num_steps - (1 if start is None else 0),  # `describe` counts one.
    min_curvature=least,
  )
  return optax.tree.scale(scale, v), info
