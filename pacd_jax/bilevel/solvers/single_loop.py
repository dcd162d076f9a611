"""Single-loop bilevel optimisation: the linear system moves along with the attack."""

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
  """v <- v + eta (b - A v): a few gradient steps on v'Av / 2 - b'v, from the last v.

  One step is SOBA (Dagreou et al., 2022, arXiv:2201.13409), a few are AmIGO (Arbel &
  Mairal, 2022, arXiv:2111.14580). A solve is not meant to converge: v follows the
  solution over outer steps, so `start` has to be the last one's. From zero, one step
  is a multiple of b, the first-order answer.

  Args:
    matvec: v -> A v, positive definite, damping included.
    b: right-hand side, a pytree; 0 gives 0 from zero.
    start: v of the last outer step, which costs one product; None: zero.
    num_steps: one product each.
    step_size: eta, above 0; shortened where it is too long (`linear_solve.descend`).

  Returns:
    v like b, and its `SolveInfo`; the residual is carried along, without a product.

  Raises:
    ValueError: `start` is not like b.
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
    num_products=num_steps - (1 if start is None else 0),  # `describe` adds one.
    min_curvature=least,
  )
  return optax.tree.scale(scale, v), info
