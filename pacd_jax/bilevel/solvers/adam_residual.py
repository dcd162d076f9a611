"""Adam on the squared residual, as the authors of PACD solved their linear system."""

import jax
import jax.numpy as jnp
import optax

from pacd_jax import types
from pacd_jax.bilevel import linear_solve


def adam_residual(
  matvec: types.MatvecFn,
  b: types.Params,
  start: types.Params | None = None,
  *,
  num_steps: int = 10,
  learning_rate: float = 1e-2,
) -> tuple[types.Params, types.SolveInfo]:
  """Minimises |A x - b|^2 by `num_steps` steps of Adam (Kingma & Ba, 2015).

  The code of Mehra et al. (2021, arXiv:2012.01274) does this with ten steps and learning
  rates of 1e-4 to 1e-2. A need not be definite. A step moves an entry of x by about the
  learning rate, so after few steps x is far from a solution with large entries: its
  direction may be useful, while the residual shows that its length is not. Near a solution
  x fluctuates by about the learning rate.

  Args:
    matvec: v -> A v, damping included.
    b: right-hand side, a pytree; from a zero start, b = 0 gives x = 0.
    start: x before the first step; None: zero.
    num_steps: T2, two products each.
    learning_rate: above 0, in the units of x.

  Returns:
    x, shaped like b, and its `SolveInfo`; the curvature is that of A along the residuals.

  Raises:
    ValueError: `start` differs from b in structure or shapes.
  """
  optimizer = optax.adam(learning_rate)
  x = linear_solve.start_from(start, b)

  def step(_, state):
    x, opt_state, least = state
    residual = optax.tree.sub(b, matvec(x))
    product = matvec(residual)
    least = jnp.minimum(least, linear_solve.curvature_along(residual, product))
    updates, opt_state = optimizer.update(optax.tree.scale(-2.0, product), opt_state, x)
    return optax.apply_updates(x, updates), opt_state, least

  least = jnp.full_like(linear_solve.vdot(b, b), jnp.inf)
  carry = x, optimizer.init(x), least
  x, _, least = jax.lax.fori_loop(0, num_steps, step, carry)
  info = linear_solve.describe(
    matvec,
    b,
    x,
    num_steps=num_steps,
    num_products=2 * num_steps,
    min_curvature=least,
  )
  return x, info
