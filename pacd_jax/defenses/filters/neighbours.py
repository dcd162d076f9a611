"""The nearest neighbours of every image in the training set."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types

_BLOCK = 512  # Rows whose distances to all others are in memory.
_SPARE = 8  # Candidates beyond k, since products round.


class Nearest(NamedTuple):
  """The k nearest others of each of n vectors, the nearest first."""

  distances: np.ndarray  # `[n, k]`, l2.
  positions: np.ndarray  # int `[n, k]`, among the n vectors.


def find(vectors: np.ndarray, k: int) -> Nearest:
  """Finds the k nearest others of each vector; none is its own neighbour.

  All distances are compared, a block of rows at a time: n^2 D multiplications on the
  device, but no n x n matrix in memory. Products say which k + 8 are nearest, and the
  distances to these are computed from differences. The products are of float32: more than
  8 further neighbours within a thousandth of the data's extent may be taken for each other.

  Args:
    vectors: float32 `[n, D]`, n > k.
    k: number of neighbours, at least 1.
  """
  centred = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)[None]
  count, on_device = len(centred), jnp.asarray(centred)
  size, num = min(_BLOCK, count), min(k + _SPARE, count - 1)
  distances, positions = np.zeros((count, k)), np.zeros((count, k), np.int64)
  for start in range(0, count, size):
    first = min(start, count - size)  # All blocks have one size.
    rows = np.arange(first, first + size)
    near = np.asarray(_candidates(on_device, jnp.asarray(rows), num))
    exact = np.stack(
      [np.linalg.norm(centred[rows] - centred[column], axis=1) for column in near.T], axis=1
    )
    order = exact.argsort(axis=1, kind="stable")[:, :k]
    distances[rows] = np.take_along_axis(exact, order, axis=1)
    positions[rows] = np.take_along_axis(near, order, axis=1)
  return Nearest(distances, positions)


@functools.partial(jax.jit, static_argnums=2)
def _candidates(vectors: types.Array, rows: types.Array, num: int) -> types.Array:
  """The `num` nearest others of each of these rows, by |y|^2 - 2 x'y: `[rows, num]`."""
  products = jnp.matmul(vectors[rows], vectors.T, precision=jax.lax.Precision.HIGHEST)
  nearness = 2.0 * products - jnp.square(vectors).sum(axis=1)[None]
  own = jnp.arange(len(rows)), rows
  return jax.lax.top_k(nearness.at[own].set(-jnp.inf), num)[1]


def check(
  name: str, training_set: types.TrainingSet, k: int, *, within_classes: bool
) -> None:
  """Raises an error unless each image has k neighbours.

  Args:
    name: the filter's, for messages.
    training_set: the set to filter.
    k: number of neighbours.
    within_classes: whether each class has to have k images as well.

  Raises:
    errors.InputError: k is below 1, or above what there is.
  """
  counts = np.bincount(training_set.labels[training_set.present])
  most = counts.sum() - 1
  if not 1 <= k <= most:
    raise errors.InputError(
      f"filter {name!r} is to look at k = {k} neighbours, but of {most + 1} images each "
      f"has {most}: use a k from 1 to that"
    )
  if not within_classes:
    return
  small = int(np.where(counts, counts, most + 1).argmin())
  if k > counts[small]:
    raise errors.InputError(
      f"filter {name!r} is to look at k = {k} neighbours, but class {small} has "
      f"{counts[small]} images: use a k of at most {counts[small]}"
    )
