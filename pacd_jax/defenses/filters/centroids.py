"""Centroids of classes: of the data at hand, or of trusted images, which is an oracle."""

from collections.abc import Callable

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import training_sets
from pacd_jax.defenses.filters import removal, representation

# "data": of the training set, as any victim has them; a poison moves them. "trusted": of
# clean validation images, an oracle that few victims have.
SOURCES = ("data", "trusted")


def means(vectors: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
  """The mean of each class's vectors `[n, D]`: float64 `[K, D]`; NaN without images."""
  found = np.full((num_classes, vectors.shape[1]), np.nan)
  for label in np.unique(labels):
    found[label] = vectors[labels == label].mean(axis=0, dtype=np.float64)
  return found


def check(
  name: str, training_set: types.TrainingSet, tools: types.Tools, source: str
) -> None:
  """Raises an error unless there are centroids of all classes of the training set.

  Raises:
    errors.InputError: the source is unknown, or a class has no trusted image.
  """
  if source not in SOURCES:
    raise errors.InputError(
      f"filter {name!r} is to take the centroids of {source!r}: use one of "
      f"{', '.join(SOURCES)}"
    )
  if source == "data":
    return
  classes = training_set.labels[training_set.present]
  missing = np.setdiff1d(classes, tools.validation.labels)
  if len(missing):
    raise errors.InputError(
      f"filter {name!r} is to take the centroids of trusted images, but the validation "
      f'split has none of class {missing[0]}: add some, or use centroids="data"'
    )


def find(
  represent: representation.Represent,
  vectors: np.ndarray,
  labels: np.ndarray,
  tools: types.Tools,
  source: str,
) -> np.ndarray:
  """The centroids `[K, D]` of the training set's vectors `[n, D]`, or of trusted images."""
  if source == "data":
    return means(vectors, labels, tools.num_classes)
  images, trusted = tools.validation
  return means(represent(images), trusted, tools.num_classes)


def remove(
  name: str,
  score: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
  training_set: types.TrainingSet,
  key: types.Key,
  tools: types.Tools,
  *,
  share: float,
  of: str,
  centroids: str,
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Removes the share of each class with the highest score by its centroids.

  Args:
    name: the filter's, for messages.
    score: `(vectors [n, D], labels [n], means [K, D]) -> [n]`.
    training_set, key, tools, share, of, centroids: as for the filters.

  Raises:
    errors.InputError: an argument out of its range, or without what it needs.
  """
  removal.check_share(name, training_set, share)
  check(name, training_set, tools, centroids)
  represent = representation.make(name, training_set, key, tools, of=of)
  images, labels = training_sets.to_dataset(training_set)
  vectors = represent(images)
  found = find(represent, vectors, labels, tools, centroids)
  return removal.by_share(name, training_set, score(vectors, labels, found), share)
