"""ApproxGrad: the gradient of the upper level through the lower level's solution.

At a solution, grad_theta lower(theta*, u) = 0 for every u; differentiating that identity
(the implicit function theorem) gives d theta*/du without unrolling the training.
No matrix is formed: products use `jax.linearize` of a gradient or of the logits, and
transposes.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from pacd_jax import types


def hessian(
  lower: types.LowerLevel, params: types.Params, poison: types.Array
) -> types.Curvature:
  """A v = H v with H the Hessian of the lower level in theta.

  By `jvp` of `grad` (forward over reverse); or, where the lower level asks for it, by `vjp`
  of `grad` (reverse over reverse), since H is symmetric.

  H need not be positive definite away from a minimum. `jax.linearize` is `jvp` whose first
  half is evaluated once; XLA hoists that half out of a solver's loop for `jvp` too, so
  `linearize` is no faster (`make bench`, `curvature_products`), only shorter to write.
  """

  def gradient(theta):
    return jax.grad(lower)(theta, poison)

  if lower.reverse_products:
    _, pull = jax.vjp(gradient, params)
    return types.Curvature(lambda v: pull(v)[0], lower)
  _, product = jax.linearize(gradient, params)
  return types.Curvature(product, lower)


def gauss_newton(
  lower: types.LowerLevel, params: types.Params, poison: types.Array
) -> types.Curvature:
  """A v = J' (d^2 criterion / d logits^2) J v, with J = d logits / d theta.

  The generalised Gauss-Newton matrix (Schraudolph, 2002, "Fast curvature matrix-vector
  products"): H without the curvature of the network, so positive semi-definite wherever
  the criterion is convex in the logits, as cross-entropy is. A criterion that is not, such
  as MACER's, is replaced by its `convex_model`, in the derivative in (theta, u) too.
  """
  logits, push = jax.linearize(lambda theta: lower.outputs(theta, poison), params)
  pull = jax.linear_transpose(push, params)
  lower = convex_model(lower, logits)
  _, criterion_hessian = jax.linearize(jax.grad(lower.criterion), logits)

  def product(v):
    return pull(criterion_hessian(push(v)))[0]

  return types.Curvature(product, lower)


def convex_model(lower: types.LowerLevel, logits: Any) -> types.LowerLevel:
  """The lower level with a convex criterion that has the same gradient at given logits.

    c~(z) = convex(z) + <grad c(z_0) - grad convex(z_0), z>

  Both the Gauss-Newton matrix and the derivative in (theta, u) are those of c~: otherwise
  the two would be inconsistent wherever c is concave, as MACER's is in the logits of a
  misclassified noisy copy. A convex criterion is returned unchanged.
  """
  if lower.convex is None:
    return lower
  convex, logits = lower.convex, jax.lax.stop_gradient(logits)
  gradients = jax.grad(lower.criterion)(logits), jax.grad(convex)(logits)
  slope = jax.tree.map(jnp.subtract, *gradients)
  return lower._replace(
    criterion=lambda z: convex(z) + optax.tree.vdot(slope, z), convex=None, redraw=None
  )


def approx_grad(
  upper: types.UpperFn,
  lower: types.LowerLevel,
  params: types.Params,
  poison: types.Array,
  start: types.Params | None = None,
  *,
  curvature: types.CurvatureFn = gauss_newton,
  solve: types.SolveFn,
) -> tuple[types.Array, types.HypergradientInfo]:
  """Hypergradient du of upper(theta*(u), u), where grad_theta lower(theta*, u) = 0.

    du = grad_u f - d/du <grad_theta g(theta, u), p>,   A p = grad_theta f

  ApproxGrad (Algorithm 2, appendix B of Mehra et al., 2021, arXiv:2012.01274; Pedregosa,
  2016). f is `upper` and g is `lower`, both with fixed noise and batches; A is the matrix
  that `curvature` returns, damped by the caller's `solve`.

  Args:
    upper: f(theta, u).
    lower: g(theta, u).
    params: theta, near the solution of the lower level.
    poison: u, any array.
    start: the first guess of p, shaped like theta; None: zero.
    curvature: `hessian` or `gauss_newton`.
    solve: solver of the linear system.

  Returns:
    du, shaped like u, and a record of the solve with p.

  Raises:
    ValueError: `start` differs from theta in structure or shapes.
  """
  grad_theta, grad_u = jax.grad(upper, argnums=(0, 1))(params, poison)
  matvec, lower = curvature(lower, params, poison)
  p, info = solve(matvec, grad_theta, start)

  def directional(u):
    return jax.jvp(lambda theta: lower(theta, u), (params,), (p,))[1]

  du = jnp.subtract(grad_u, jax.grad(directional)(poison))
  return du, types.HypergradientInfo(info, p)
