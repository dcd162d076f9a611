"""The Nystrom method: a low-rank approximation from a few columns, inverted exactly."""

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from pacd_jax import errors, types
from pacd_jax.bilevel import linear_solve


def nystrom(
  matvec: types.MatvecFn,
  b: types.Params,
  start: types.Params | None = None,
  *,
  damping: float,
  rank: int = 10,
  seed: int = 0,
) -> tuple[types.Params, types.SolveInfo]:
  """x = (A_k + rho I)^-1 b,  A_k = C W^+ C',  C = A[:, K],  W = A[K, K].

  Hataya & Yamada (2023), arXiv:2302.09726: K are `rank` coordinates drawn without
  replacement, and the inverse is by Woodbury's identity. With W = U S U' and
  B = C U |S|^-1/2, A_k = B sign(S) B' and x = (b - B (rho sign(S) + B'B)^-1 B'b) / rho.
  Eigenvalues of W of the size of rounding errors are left out, since the columns of dead
  units are 0. The columns do not depend on b, and products do not depend on each other.

  Args:
    matvec: v -> A v, WITHOUT damping: the method adds its own.
    b: right-hand side, a pytree of n entries in all; 0 gives 0.
    start: not used: the method is not iterative.
    damping: rho, above 0; Woodbury's identity divides by it.
    rank: k, at most n is used; it takes k products and memory for `[n, k]`.
    seed: seed of the coordinates.

  Returns:
    x, shaped like b, and its `SolveInfo` with the residual of (A + rho I) x = b; the
    curvature is the least eigenvalue of W + rho I, that of A + rho I along a vector in the
    span of the coordinates K.

  Raises:
    errors.InputError: the damping is not above 0.
  """
  del start
  if not damping > 0:
    raise errors.InputError(f"the Nystrom method needs a damping above 0, not {damping}")
  unit, _, scale = linear_solve.normalised(b, None)
  flat, unravel = ravel_pytree(unit)
  rank = min(rank, flat.size)
  indices = jax.random.choice(jax.random.key(seed), flat.size, (rank,), replace=False)

  def column(index):
    return ravel_pytree(matvec(unravel(jnp.zeros_like(flat).at[index].set(1.0))))[0]

  columns = jax.lax.map(column, indices).T
  core = columns[indices]
  eigenvalues, vectors = jnp.linalg.eigh((core + core.T) / 2.0)
  sizes = jnp.abs(eigenvalues)
  kept = sizes > rank * jnp.finfo(flat.dtype).eps * jnp.max(sizes)
  roots = jnp.sqrt(jnp.where(kept, sizes, 1.0))
  factor = (columns @ vectors) * jnp.where(kept, 1.0 / roots, 0.0)[None]
  inner = jnp.diag(damping * jnp.where(kept, jnp.sign(eigenvalues), 1.0))
  inner += factor.T @ factor
  x = unravel((flat - factor @ jnp.linalg.solve(inner, factor.T @ flat)) / damping)
  info = linear_solve.describe(
    linear_solve.damped(matvec, damping),
    unit,
    x,
    num_steps=1,
    num_products=rank,
    min_curvature=jnp.min(eigenvalues) + damping,
  )
  return optax.tree.scale(scale, x), info
