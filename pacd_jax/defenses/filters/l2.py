"""The l2 filter: images far from the centroid of their class are removed."""

import numpy as np

from pacd_jax import types
from pacd_jax.defenses.filters import centroids as class_centroids


def score(vectors: np.ndarray, labels: np.ndarray, means: np.ndarray) -> np.ndarray:
  """The distance to the centroid of the own class: `[n]`.

    s_i = |x_i - mu_{y_i}|

  The sphere defence of Steinhardt, Koh and Liang (2017), https://arxiv.org/abs/1706.03691.

  Args:
    vectors: `[n, D]`.
    labels: `[n]`.
    means: centroids, `[K, D]`.
  """
  scores = np.zeros(len(labels))
  for label in np.unique(labels):
    of_class = labels == label
    scores[of_class] = np.linalg.norm(vectors[of_class] - means[label][None], axis=1)
  return scores


def l2(
  training_set: types.TrainingSet,
  key: types.Key,
  tools: types.Tools,
  *,
  share: float = 0.05,
  of: str = "pixels",
  centroids: str = "data",
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Removes the share of each class that has the highest score; a `types.DefenceFn`.

  A poison of a whole class moves the centroid of that class: the filter then removes the
  share all the same, but hardly by what the poison did.

  Args:
    training_set: the set to filter.
    key: consumed.
    tools: for features, and for trusted images.
    share: of every class, that is removed, in [0, 1); 0.05 in Koh, Steinhardt and Liang
      (2022), https://arxiv.org/abs/1811.00741.
    of: "pixels" or "features".
    centroids: of the "data", or of "trusted" validation images: an oracle.

  Raises:
    errors.InputError: an argument out of its range, or without what it needs.
  """
  return class_centroids.remove(
    "l2",
    score,
    training_set,
    key,
    tools,
    share=share,
    of=of,
    centroids=centroids,
  )
