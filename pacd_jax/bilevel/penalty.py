"""The penalty method: the lower level's gradient is penalised, and no system is solved."""

import jax
import jax.numpy as jnp
import optax

from pacd_jax import types
from pacd_jax.bilevel import linear_solve


def penalty_grad(
  upper: types.UpperFn,
  lower: types.LowerLevel,
  params: types.Params,
  poison: types.Array,
  start: types.Params | None = None,
  *,
  gamma: float = 10.0,
  num_steps: int = 10,
  learning_rate: float = 1e-3,
) -> tuple[types.Array, types.HypergradientInfo]:
  """du = grad_u F(theta^, u),  F = f + gamma/2 |grad_theta g|^2,  theta^ near argmin F.

  Mehra & Hamm (2019), arXiv:1911.03432. Where grad_theta F = 0, p = -gamma grad_theta g
  solves H p = grad_theta f with H the Hessian of g at theta^, and du is the hypergradient
  at theta^, which differs from the lower level's solution by H^-1 p / gamma. So du becomes
  exact as gamma grows, while argmin F gets harder to reach: its curvature is gamma H^2.

  Args:
    upper: f(theta, u).
    lower: g(theta, u).
    params: theta, where the steps on F start.
    poison: u, any array.
    start: not used: theta^ starts at theta each time.
    gamma: weight of the penalty, above 0.
    num_steps: Adam's steps on F in theta, one product with H each.
    learning_rate: Adam's learning rate, about the size of theta^ - theta.

  Returns:
    du, shaped like u, and its record: the residual |grad f - H p| / |grad f| at theta^
    measures convergence, the curvature is that of H along grad_theta g, and the adjoint is
    p. theta^ is not returned.
  """
  del start
  optimizer = optax.adam(learning_rate)

  def gradients(theta):
    """grad f, grad g and H grad g, all in theta."""
    gradient = jax.grad(lower)(theta, poison)
    _, product = jax.jvp(lambda x: jax.grad(lower)(x, poison), (theta,), (gradient,))
    return jax.grad(upper)(theta, poison), gradient, product

  def step(_, state):
    theta, opt_state, least = state
    grad_f, gradient, product = gradients(theta)
    least = jnp.minimum(least, linear_solve.curvature_along(gradient, product))
    total = optax.tree.add_scale(grad_f, gamma, product)
    updates, opt_state = optimizer.update(total, opt_state, theta)
    return optax.apply_updates(theta, updates), opt_state, least

  least = jnp.full_like(linear_solve.vdot(params, params), jnp.inf)
  carry = params, optimizer.init(params), least
  theta, _, least = jax.lax.fori_loop(0, num_steps, step, carry)

  grad_f, gradient, product = gradients(theta)
  p = optax.tree.scale(-gamma, gradient)
  hessian_p = optax.tree.scale(-gamma, product)
  info = linear_solve.describe(
    lambda _: hessian_p,
    grad_f,
    p,
    num_steps=num_steps,
    num_products=num_steps,  # `describe` counts the last one.
    min_curvature=jnp.minimum(least, linear_solve.curvature_along(gradient, product)),
  )

  def directional(u):
    return jax.jvp(lambda x: lower(x, u), (theta,), (p,))[1]

  du = jax.grad(upper, argnums=1)(theta, poison) - jax.grad(directional)(poison)
  return du, types.HypergradientInfo(info, p)
