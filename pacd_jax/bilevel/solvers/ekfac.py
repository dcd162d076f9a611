"""Conjugate gradients preconditioned in a Kronecker-factored eigenbasis."""

import jax
import jax.numpy as jnp
import optax

from pacd_jax import types
from pacd_jax.bilevel import linear_solve

_LEAST = 1e-6  # Lower bound of the diagonal, relative to its largest entry.


def ekfac(
  matvec: types.MatvecFn,
  b: types.Params,
  start: types.Params | None = None,
  *,
  max_steps: int = 10,
  tolerance: float = 0.0,
  num_probes: int = 4,
  max_side: int = 512,
  seed: int = 0,
) -> tuple[types.Params, types.SolveInfo]:
  """Conjugate gradients on A x = b, preconditioned by `preconditioner`.

  Args:
    matvec: v -> A v, positive definite, damping included.
    b: right-hand side, a pytree; from a zero start, b = 0 gives x = 0.
    start: x before the first step, which costs one product; None: zero.
    max_steps: the largest number of steps of conjugate gradients, one product each.
    tolerance: the solve stops at |b - A x| <= tolerance |b|.
    num_probes, max_side, seed: as in `preconditioner`.

  Returns:
    x, shaped like b, and its `SolveInfo`, which counts the probes' products too.

  Raises:
    ValueError: `start` differs from b in structure or shapes.
  """
  precondition = preconditioner(
    matvec, b, num_probes=num_probes, max_side=max_side, seed=seed
  )
  x, info = linear_solve.conjugate_gradient(
    matvec,
    b,
    start,
    max_steps=max_steps,
    tolerance=tolerance,
    precondition=precondition,
  )
  return x, info._replace(num_products=info.num_products + num_probes)


def preconditioner(
  matvec: types.MatvecFn,
  like: types.Params,
  *,
  num_probes: int = 4,
  max_side: int = 512,
  seed: int = 0,
) -> types.MatvecFn:
  """v -> M^-1 v, with M = (Q_L x Q_R) diag(d) (Q_L x Q_R)' for each leaf separately.

  A diagonal fitted in the eigenbasis of a Kronecker product is EKFAC (George et al., 2018,
  arXiv:1806.03884), after K-FAC (Martens & Grosse, 2015, arXiv:1503.05671). They take the
  factors from a layer's activations and output gradients. A solver knows A by its products
  alone, so here the factors are from probes z ~ N(0, I), with S = A z reshaped to a matrix
  `[prod(leading axes), last axis]`. If A is L x R on that leaf, E[S S'] ~ L^2 and
  E[S'S] ~ R^2 have the eigenvectors Q_L and Q_R of the factors. The diagonal is
  d = sqrt(mean of s^2 / mean of z^2), both in the basis: |eigenvalue| if A is such a
  product, otherwise the norm of A's row, which includes its entries for other leaves.

  Args:
    matvec: v -> A v.
    like: a pytree with the shapes of v.
    num_probes: number of probes, one product each; all are held in memory.
    max_side: a side longer than this has the identity as its basis, and so have vectors.
    seed: seed of the probes.
  """
  keys = jax.random.split(jax.random.key(seed), num_probes)

  def probe(key):
    z = optax.tree.random_like(key, like, jax.random.normal)
    return z, matvec(z)

  zs, products = jax.lax.map(probe, keys)
  leaves, structure = jax.tree.flatten(like)
  pairs = zip(
    leaves, structure.flatten_up_to(zs), structure.flatten_up_to(products), strict=True
  )
  bases, diagonals = zip(*(_fit(*pair, max_side) for pair in pairs), strict=True)
  largest = jnp.max(jnp.stack([jnp.max(d) for d in diagonals]))
  floor = jnp.where(largest > 0, _LEAST * largest, 1.0)

  def solve(leaf, basis, diagonal):
    inside = _rotate(basis, _as_matrix(leaf), back=False) / jnp.maximum(diagonal, floor)
    return _rotate(basis, inside, back=True).reshape(leaf.shape)

  def precondition(v):
    solved = map(solve, structure.flatten_up_to(v), bases, diagonals)
    return structure.unflatten(solved)

  return precondition


def _as_matrix(leaf, batch: int = 0):
  """Reshapes to `[..., prod(leading axes), last axis]`, after `batch` batch axes."""
  shape = leaf.shape[batch:]
  return leaf.reshape(*leaf.shape[:batch], -1, shape[-1] if shape else 1)


def _fit(leaf, zs, products, max_side):
  """((Q_L, Q_R), d) of one leaf; None stands for the identity."""
  zs, products = _as_matrix(zs, 1), _as_matrix(products, 1)
  basis = (None, None)
  if leaf.ndim > 1:
    left = jnp.einsum("kij,klj->il", products, products)
    right = jnp.einsum("kij,kil->jl", products, products)
    basis = tuple(
      jnp.linalg.eigh(square)[1] if 1 < len(square) <= max_side else None
      for square in (left, right)
    )
  ours, theirs = (_rotate(basis, x, back=False) for x in (zs, products))
  return basis, jnp.sqrt(jnp.sum(theirs**2, axis=0) / jnp.sum(ours**2, axis=0))


def _rotate(basis, x, *, back: bool):
  """Q_L' X Q_R, or, if `back`, Q_L X Q_R', for X `[..., p, q]`."""
  left, right = basis
  if left is not None:
    x = jnp.einsum("ij,...jk->...ik", left if back else left.T, x)
  if right is not None:
    x = jnp.einsum("...ij,jk->...ik", x, right.T if back else right)
  return x
