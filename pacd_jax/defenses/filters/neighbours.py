"""The nearest neighbours of every image in the training set."""

from typing import NamedTuple

import numpy as np

from pacd_jax import errors, types


class Nearest(NamedTuple):
  """The k nearest others of each of n vectors, the nearest first."""

  distances: np.ndarray  # `[n, k]`, l2.
  positions: np.ndarray  # int `[n, k]`, among the n vectors.


def find(vectors: np.ndarray, k: int) -> Nearest:
  """Finds the k nearest others of each vector, exactly; none is its own neighbour.

  All distances are computed, in float64 and block by block: n^2 D products, but no n x n
  matrix in memory.

  Args:
    vectors: `[n, D]`, n > k.
    k: number of neighbours; 0 finds none.
  """
  if k == 0:
    empty = np.zeros((len(vectors), 0))
    return Nearest(empty, empty.astype(np.int64))
  from sklearn import neighbors  # Imported here: it costs a second.

  index = neighbors.NearestNeighbors(n_neighbors=k, algorithm="brute").fit(vectors)
  return Nearest(*index.kneighbors())


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
