"""Solvers of linear systems whose matrix is known by its products, and their records."""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

from pacd_jax import types


def vdot(x: types.Params, y: types.Params) -> types.Scalar:
  """x'y over pytrees."""
  return cast(types.Scalar, optax.tree.vdot(x, y))  # optax declares a wider type.


def _axpy(a, x, y):
  """y + a x over pytrees."""
  return jax.tree.map(lambda xi, yi: yi + a * xi, x, y)


def damped(matvec: types.MatvecFn, damping: float) -> types.MatvecFn:
  """v -> (A + damping I) v."""
  return lambda v: _axpy(damping, v, matvec(v))


def start_from(start: types.Params | None, b: types.Params) -> types.Params:
  """The first guess of a solve: `start`, or zero where it is None.

  Raises:
    ValueError: `start` differs from b in structure or shapes, as that of another model.
  """
  if start is None:
    return jax.tree.map(jnp.zeros_like, b)
  shapes = [jax.tree.map(jnp.shape, tree) for tree in (start, b)]
  if shapes[0] != shapes[1]:
    raise ValueError(
      f"a warm start must be like the right-hand side, {shapes[1]}, not {shapes[0]}: give "
      "the adjoint of the same model, or None"
    )
  return start


def normalised(
  b: types.Params, start: types.Params | None
) -> tuple[types.Params, types.Params, types.Array]:
  """Divides b and the first guess by b's largest absolute entry; returns that entry too.

  Without the scaling, squares would underflow where b is nearly zero. The solution x is
  that of the scaled system times the entry. For b = 0 the entry is taken as 1; where its
  reciprocal is subnormal, and would be flushed to 0, as infinite: the solution is then not
  finite, which stops a run.
  """
  largest = optax.tree.norm(b, ord="inf")
  scale = jnp.where(largest > 0, largest, 1.0)
  scale = jnp.where(scale <= 1.0 / jnp.finfo(scale.dtype).tiny, scale, jnp.inf)
  unit, x = (
    jax.tree.map(lambda leaf: leaf / scale, tree) for tree in (b, start_from(start, b))
  )
  return unit, x, scale


def describe(
  matvec: types.MatvecFn,
  b: types.Params,
  x: types.Params,
  *,
  num_steps: types.Array | int,
  num_products: types.Array | int,
  min_curvature: types.Array,
) -> types.SolveInfo:
  """The `SolveInfo` of x; one more product, which is counted, gives the true residual.

  Args:
    matvec: v -> A v.
    b: right-hand side.
    x: the solution found.
    num_steps: steps that moved x.
    num_products: products with A so far.
    min_curvature: the least p'Ap / p'p over the directions met; infinite if there was none.
  """
  residual = jax.tree.map(jnp.subtract, b, matvec(x))
  norm = optax.tree.norm(b)
  return types.SolveInfo(
    num_steps=jnp.int32(num_steps),
    num_products=jnp.int32(num_products + 1),
    relative_residual=optax.tree.norm(residual) / jnp.where(norm > 0, norm, 1.0),
    negative_curvature=min_curvature <= 0,
    min_curvature=jnp.where(jnp.isposinf(min_curvature), 0.0, min_curvature),
  )


def curvature_along(direction: types.Params, product: types.Params) -> types.Array:
  """p'Ap / p'p, infinite for p = 0."""
  size = vdot(direction, direction)
  return jnp.where(
    size > 0, vdot(direction, product) / jnp.where(size > 0, size, 1), jnp.inf
  )


def identity(
  matvec: types.MatvecFn, b: types.Params, start: types.Params | None = None
) -> tuple[types.Params, types.SolveInfo]:
  """x = b: the first-order answer, for comparison. One product gives its residual."""
  del start
  product = matvec(b)
  info = describe(
    lambda _: product,
    b,
    b,
    num_steps=0,
    num_products=0,
    min_curvature=curvature_along(b, product),
  )
  return b, info


class _CgState(NamedTuple):
  num_steps: types.Array
  x: types.Params
  residual: types.Params  # b - A x
  direction: types.Params  # p
  r_dot_r: types.Array
  r_dot_z: types.Array  # z = M^-1 r
  negative_curvature: types.Array
  min_curvature: types.Array


def conjugate_gradient(
  matvec: types.MatvecFn,
  b: types.Params,
  start: types.Params | None = None,
  *,
  max_steps: int = 10,
  tolerance: float = 0.0,
  precondition: types.MatvecFn | None = None,
) -> tuple[types.Params, types.SolveInfo]:
  """Solves A x = b for a symmetric positive definite A by conjugate gradients.

  Hestenes & Stiefel (1952). `jax.scipy.sparse.linalg.cg` returns no record of its steps,
  and a non-convex lower level needs one: at a direction p with p'Ap <= 0 the solve stops
  and reports negative curvature, as in Newton-CG (Nocedal & Wright, "Numerical
  Optimization", algorithm 7.1). It then returns x so far or, if that happens in the first
  step, x plus the first direction, which from a zero start is b.

  Args:
    matvec: v -> A v.
    b: right-hand side, a pytree; from a zero start, b = 0 gives x = 0 in no step.
    start: x before the first step, shaped like b, which costs one product; None: zero.
    max_steps: the largest number of steps, one product each.
    tolerance: the solve stops at |b - A x| <= tolerance |b|.
    precondition: v -> M^-1 v, with a positive definite M near A (Nocedal & Wright,
      algorithm 5.3); None: the identity.

  Returns:
    x, shaped like b, and its `SolveInfo`.

  Raises:
    ValueError: `start` differs from b in structure or shapes.
  """
  unit, x, scale = normalised(b, start)
  residual = unit if start is None else jax.tree.map(jnp.subtract, unit, matvec(x))
  precondition = precondition or (lambda v: v)
  direction = precondition(residual)
  first = _CgState(
    num_steps=jnp.int32(0),
    x=x,
    residual=residual,
    direction=direction,
    r_dot_r=vdot(residual, residual),
    r_dot_z=vdot(residual, direction),
    negative_curvature=jnp.bool_(False),
    min_curvature=jnp.full_like(scale, jnp.inf),
  )
  end = _iterate(matvec, precondition, first, tolerance**2 * vdot(unit, unit), max_steps)
  # If the first direction has negative curvature, Newton-CG moves along it.
  at_once = end.negative_curvature & (end.num_steps == 0)
  x = jax.tree.map(lambda xi, pi: jnp.where(at_once, xi + pi, xi), end.x, direction)
  spent = end.num_steps + end.negative_curvature + (0 if start is None else 1)
  info = describe(
    matvec,
    unit,
    x,
    num_steps=end.num_steps,
    num_products=spent,
    min_curvature=end.min_curvature,
  )
  return jax.tree.map(lambda leaf: leaf * scale, x), info


def _iterate(matvec, precondition, first, enough, max_steps) -> _CgState:
  """Runs the recurrence until convergence, negative curvature or `max_steps`."""

  def unfinished(state):
    return (
      (state.num_steps < max_steps) & (state.r_dot_r > enough) & ~state.negative_curvature
    )

  def step(state):
    product = matvec(state.direction)
    p_a_p = vdot(state.direction, product)
    curvature = p_a_p / vdot(state.direction, state.direction)
    stop = ~(p_a_p > 0)
    a = jnp.where(stop, 0.0, state.r_dot_z / jnp.where(stop, 1.0, p_a_p))
    residual = _axpy(-a, product, state.residual)
    z = precondition(residual)
    r_dot_z = vdot(residual, z)
    return _CgState(
      num_steps=state.num_steps + jnp.where(stop, 0, 1),
      x=_axpy(a, state.direction, state.x),
      residual=residual,
      direction=_axpy(r_dot_z / state.r_dot_z, state.direction, z),
      r_dot_r=vdot(residual, residual),
      r_dot_z=r_dot_z,
      negative_curvature=stop,
      min_curvature=jnp.minimum(state.min_curvature, curvature),
    )

  return jax.lax.while_loop(unfinished, step, first)


def descend(
  matvec: types.MatvecFn,
  x: types.Params,
  residual: types.Params,
  *,
  num_steps: int,
  step_size: float | types.Array,
) -> tuple[types.Params, types.Params, types.Array]:
  """Gradient steps on x'Ax / 2 - b'x: x + eta r, with r = b - A x; one product each.

  eta is `step_size`, or r'r / r'Ar, the exact line search along r, where that is shorter.
  So too large a `step_size` cannot diverge for a positive definite A.

  Returns:
    x, its residual, and the least r'Ar / r'r, infinite if every r was 0.
  """

  def step(_, state):
    x, residual, least = state
    product = matvec(residual)
    curvature = curvature_along(residual, product)
    best = jnp.where(curvature > 0, 1.0 / jnp.where(curvature > 0, curvature, 1.0), jnp.inf)
    eta = jnp.minimum(step_size, best)
    x, residual = _axpy(eta, residual, x), _axpy(-eta, product, residual)
    return x, residual, jnp.minimum(least, curvature)

  least = jnp.full_like(vdot(residual, residual), jnp.inf)
  return jax.lax.fori_loop(0, num_steps, step, (x, residual, least))


def largest_eigenvalue(
  matvec: types.MatvecFn, like: types.Params, *, num_products: int, seed: int = 0
) -> types.Array:
  """A lower estimate of max |lambda(A)|: |A v| / |v| after `num_products` power steps.

  They start from a normal v drawn by the seed, not from b, which may have only a small part
  along the leading eigenvector.
  """
  v = optax.tree.random_like(jax.random.key(seed), like, jax.random.normal)

  def step(_, state):
    v, size = state
    v = matvec(optax.tree.scale(1.0 / jnp.where(size > 0, size, 1.0), v))
    return v, optax.tree.norm(v)

  return jax.lax.fori_loop(0, num_products, step, (v, optax.tree.norm(v)))[1]
