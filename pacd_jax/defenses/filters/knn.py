"""The k-NN filter: images far from their nearest neighbours are removed."""

import numpy as np

from pacd_jax import types
from pacd_jax.defenses.filters import neighbours, removal, representation


def score(nearest: neighbours.Nearest, k: int = 5) -> np.ndarray:
  """The sum of the distances to the k nearest others, of any class: `[n]`.

    s_i = sum_{j in the k nearest of i} |x_i - x_j|

  Frederickson et al. (2018), https://arxiv.org/abs/1802.07295, as Koh, Steinhardt and Liang
  (2022), https://arxiv.org/abs/1811.00741, use it.

  Args:
    nearest: of every image, its k nearest or more.
    k: number of neighbours.
  """
  return nearest.distances[:, :k].sum(axis=1)


def knn(
  training_set: types.TrainingSet,
  key: types.Key,
  tools: types.Tools,
  *,
  share: float = 0.05,
  k: int = 5,
  of: str = "pixels",
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Removes the share of each class that has the highest score; a `types.DefenceFn`.

  Images of a whole class that are poisoned alike are as near to each other as before.

  Args:
    training_set: the set to filter.
    key: consumed.
    tools: for features.
    share: of every class, that is removed, in [0, 1).
    k: number of neighbours, from 1 to the number of images minus one.
    of: "pixels" or "features".

  Raises:
    errors.InputError: an argument out of its range, or without what it needs.
  """
  removal.check_share("knn", training_set, share)
  neighbours.check("knn", training_set, k, within_classes=False)
  represent = representation.make("knn", training_set, key, tools, of=of)
  vectors = represent(training_set.images[training_set.present])
  scores = score(neighbours.find(vectors, k), k)
  return removal.by_share("knn", training_set, scores, share)
