"""Truncated unrolling: the hypergradient by backpropagation through training steps."""

import functools

import jax
import jax.numpy as jnp
import optax

from pacd_jax import types


def unrolled_grad(
  upper: types.UpperFn,
  lower: types.LowerLevel,
  params: types.Params,
  poison: types.Array,
  start: types.Params | None = None,
  *,
  num_steps: int = 2,
  learning_rate: float = 0.1,
  checkpoint: bool = True,
) -> tuple[types.Array, types.HypergradientInfo]:
  """du = d f(theta_K(u), u) / du,  theta_{k+1} = theta_k - eta grad_theta g(theta_k, u).

  Reverse mode through K gradient steps from theta, truncated before them (Shaban et al.,
  2019, arXiv:1810.10667), as MetaPoison does with K = 2 (Huang et al., 2020,
  arXiv:2004.00225). At a solution of the lower level it is ApproxGrad with K terms of the
  Neumann series on the Hessian: there du converges to the hypergradient as K grows, if eta
  is under 2 / lambda_max. No linear system is solved, so neither damping nor a definite
  matrix is needed, but the memory of the backward pass grows with K.

  Args:
    upper: f(theta, u).
    lower: g(theta, u).
    params: theta_0.
    poison: u, any array.
    start: not used: there is no adjoint.
    num_steps: K, static; each step costs a gradient and, backwards, a product with the
      Hessian and one with the derivative in (theta, u).
    learning_rate: eta, above 0.
    checkpoint: whether to store theta_k alone for the backward pass and recompute the rest
      of a step: K times the parameters in memory, not K times all activations.

  Returns:
    du, shaped like u, and a record with the numbers of steps and products alone.
  """
  del start

  def unrolled(u):
    def step(theta, _):
      gradient = jax.grad(lower)(theta, u)
      return optax.tree.add_scale(theta, -learning_rate, gradient), None

    if checkpoint:
      # In a scan, XLA does not merge the recomputation, so CSE need not be prevented.
      step = functools.partial(jax.checkpoint, prevent_cse=False)(step)
    theta, _ = jax.lax.scan(step, params, None, length=num_steps)
    return upper(theta, u)

  du = jax.grad(unrolled)(poison)
  count = jnp.int32(num_steps)
  info = types.SolveInfo(
    num_steps=count,
    num_products=count,
    relative_residual=None,
    negative_curvature=None,
    min_curvature=None,
  )
  return du, types.HypergradientInfo(info, None)
