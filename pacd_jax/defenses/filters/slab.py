"""The slab filter: images far from their centroid, along the line to another, go."""

import numpy as np

from pacd_jax import errors, types
from pacd_jax.defenses.filters import centroids as class_centroids


def score(vectors: np.ndarray, labels: np.ndarray, means: np.ndarray) -> np.ndarray:
  """The largest distance to the own centroid along the lines to the others: `[n]`.

    s_i = max_c |<x_i - mu_a, v_c>|,  v_c = (mu_a - mu_c) / |mu_a - mu_c|,  a = y_i

  The slab defence of Steinhardt, Koh and Liang (2017), https://arxiv.org/abs/1706.03691,
  is for two classes, where c is the other one. With K classes, an image has to be in the
  slabs of all K - 1 pairs that its class is in: a poison that goes towards one class is
  seen in full, whereas the line to the mean of all others would show a part of it.

  Args:
    vectors: `[n, D]`.
    labels: `[n]`, of at least two classes.
    means: centroids, `[K, D]`.

  Raises:
    errors.InputError: fewer than two classes, or two with the same centroid.
  """
  classes = np.unique(labels)
  _check_two(classes)
  scores = np.zeros(len(labels))
  for label in classes:
    others = classes[classes != label]
    lines = means[label][None] - means[others]
    lengths = np.linalg.norm(lines, axis=1)
    same = lengths <= 1e-9 * np.linalg.norm(means[label])
    if same.any():
      raise errors.InputError(
        f"filter 'slab' has no line between classes {label} and {others[same][0]}, whose "
        "centroids are the same: use another filter"
      )
    directions = (lines / lengths[:, None]).T.astype(vectors.dtype)
    of_class = labels == label
    from_centroid = vectors[of_class] - means[label][None].astype(vectors.dtype)
    scores[of_class] = np.abs(from_centroid @ directions).max(axis=1)
  return scores


def slab(
  training_set: types.TrainingSet,
  key: types.Key,
  tools: types.Tools,
  *,
  share: float = 0.05,
  of: str = "pixels",
  centroids: str = "data",
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Removes the share of each class that has the highest score; a `types.DefenceFn`.

  A poison of a whole class moves the centroid of that class, as for `l2`.

  Args:
    training_set: the set to filter, of at least two classes.
    key: consumed.
    tools: for features, and for trusted images.
    share: of every class, that is removed, in [0, 1).
    of: "pixels" or "features".
    centroids: of the "data", or of "trusted" validation images: an oracle.

  Raises:
    errors.InputError: as `score`; an argument out of its range, or without what it needs.
  """
  _check_two(np.unique(training_set.labels[training_set.present]))
  return class_centroids.remove(
    "slab",
    score,
    training_set,
    key,
    tools,
    share=share,
    of=of,
    centroids=centroids,
  )


def _check_two(classes: np.ndarray) -> None:
  if len(classes) < 2:
    raise errors.InputError(
      "filter 'slab' looks along lines between classes, but the training set has "
      f"{len(classes)}: use at least two, or filter 'l2'"
    )
