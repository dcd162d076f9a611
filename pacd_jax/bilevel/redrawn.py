"""ApproxGrad as the authors of PACD ran it: noise drawn anew at every step of the solve."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from pacd_jax import types
from pacd_jax.bilevel import hypergradient, linear_solve


class Carry(NamedTuple):
  """What one solve hands to the next."""

  adjoint: types.Params  # p
  opt_state: optax.OptState  # The moments of Adam on p.


def init(params: types.Params) -> Carry:
  """The carry before the first solve of a surrogate: p = 0, no moments."""
  zero = optax.tree.zeros_like(params)
  return Carry(zero, optax.adam(1.0).init(zero))  # Of any rate: no state holds it.


def redrawn_approx_grad(
  upper: types.UpperLevel,
  lower: types.LowerLevel,
  params: types.Params,
  poison: types.Array,
  start: Carry | None = None,
  *,
  curvature: types.CurvatureFn = hypergradient.hessian,
  damping: float = 1e-3,
  num_steps: int = 10,
  learning_rate: float = 1e-2,
) -> tuple[types.Array, types.HypergradientInfo]:
  """Hypergradient du by stochastic steps on the linear system, each on draws of its own.

    p <- p - Adam(grad_p |(A_t + damping I) p - grad_theta f_t|^2),   t = 1 .. T2
    du = grad_u f - d/du <grad_theta g(theta, u), p>

  f_t and g_t are the two levels with their noise and augmentation drawn anew, A_t is the
  matrix of g_t, and the last line has draws of its own, too. p and Adam's moments are kept
  from one outer step to the next, so that p follows the solution over outer steps, as in
  single-loop methods, although theta, the batch and the poison change below it. This is
  what the code of Mehra et al. (2021, arXiv:2012.01274) does; their Algorithm 2 draws once
  and starts from nothing (`approx_grad` with `adam_residual`). Adam is Kingma and Ba's;
  TensorFlow's, which they used, adds its epsilon before the bias correction.

  Args:
    upper: f(theta, u). Without `redraw`, the same f at every step.
    lower: g(theta, u). Without `redraw`, the same g at every step.
    params: theta, near the solution of the lower level.
    poison: u, any array.
    start: what the last solve returned; None: `init(params)`.
    curvature: `hessian`, as the authors', or `gauss_newton`.
    damping: added to the matrix.
    num_steps: T2; two products with the matrix and one gradient of f each.
    learning_rate: Adam's, in the units of p.

  Returns:
    du, shaped like u; a record whose residual is that of the last step, before it, on the
    draws of that step; and the carry of the next solve.
  """
  optimizer = optax.adam(learning_rate)

  def drawn(number):
    objective = upper if upper.redraw is None else upper.redraw(number)
    level = lower if lower.redraw is None else lower.redraw(number)
    return objective, curvature(level, params, poison)

  def step(t, state):
    p, opt_state, least, _ = state
    objective, (matvec, _) = drawn(t)
    matvec, b = linear_solve.damped(matvec, damping), jax.grad(objective)(params, poison)
    residual = optax.tree.sub(b, matvec(p))
    product = matvec(residual)
    least = jnp.minimum(least, linear_solve.curvature_along(residual, product))
    updates, opt_state = optimizer.update(optax.tree.scale(-2.0, product), opt_state, p)
    norm = optax.tree.norm(b)
    relative = optax.tree.norm(residual) / jnp.where(norm > 0, norm, 1.0)
    return optax.apply_updates(p, updates), opt_state, least, relative

  p, opt_state = init(params) if start is None else start
  zero = jnp.zeros_like(linear_solve.vdot(p, p))
  p, opt_state, least, relative = jax.lax.fori_loop(
    0, num_steps, step, (p, opt_state, zero + jnp.inf, zero)
  )
  objective, (_, consistent) = drawn(num_steps)

  def directional(u):
    return jax.jvp(lambda theta: consistent(theta, u), (params,), (p,))[1]

  du = jax.grad(objective, argnums=1)(params, poison) - jax.grad(directional)(poison)
  info = types.SolveInfo(
    num_steps=jnp.int32(num_steps),
    num_products=jnp.int32(2 * num_steps),
    relative_residual=relative,
    negative_curvature=least <= 0,
    min_curvature=jnp.where(jnp.isposinf(least), 0.0, least),
  )
  return du, types.HypergradientInfo(info, p, Carry(p, opt_state))
