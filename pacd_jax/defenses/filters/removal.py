"""What all filters end with: by their scores, images are removed, and this is reported."""

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import training_sets


def check_share(name: str, training_set: types.TrainingSet, share: float) -> None:
  """Raises an error unless the filter may remove this share of every class.

  Raises:
    errors.InputError: the share is not in [0, 1), or a class would be empty.
  """
  if not 0.0 <= share < 1.0:
    raise errors.InputError(
      f"filter {name!r} is to remove a share of {share:g}: use one in [0, 1)"
    )
  for label, count in _counts(training_set.labels[training_set.present]).items():
    if num_kept(share, count) == 0:
      raise _empties(name, label, count, "remove a smaller share")


def by_share(
  name: str, training_set: types.TrainingSet, scores: np.ndarray, share: float
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Removes the images with the highest scores of each class.

    number kept = round((1 - p) n_c),  n_c the number of images of the class

  Of equal scores, the images at lower positions stay.

  Args:
    name: the filter's, for messages.
    training_set: the set to filter; `check_share` has passed it.
    scores: `[n]`, of the images that are present, in order.
    share: p, in [0, 1).
  """
  labels = training_set.labels[training_set.present]
  removed, values = np.zeros(len(labels), bool), {}
  for label in np.unique(labels).tolist():
    of_class = np.flatnonzero(labels == label)
    order = of_class[np.argsort(scores[of_class], kind="stable")]
    kept = num_kept(share, len(order))
    removed[order[kept:]] = True
    values[f"threshold_of_class_{label}"] = float(scores[order[kept - 1]])
  return _remove(name, training_set, removed, values, "remove a smaller share")


def by_threshold(
  name: str,
  training_set: types.TrainingSet,
  scores: np.ndarray,
  threshold: float,
  remedy: str,
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Removes the images with scores `[n]` above a threshold.

  Raises:
    errors.InputError: no image of a class would stay; the message ends with the remedy.
  """
  values = {"threshold": float(threshold)}
  return _remove(name, training_set, scores > threshold, values, remedy)


def num_kept(share: float, count: int) -> int:
  """How many of so many images of a class a filter keeps that removes a share of them."""
  return round((1.0 - share) * count)


def _counts(labels: np.ndarray) -> dict[int, int]:
  """How many images each class has that has some."""
  classes, counts = np.unique(labels, return_counts=True)
  return dict(zip(classes.tolist(), counts.tolist(), strict=True))


def _empties(name: str, label: int, count: int, remedy: str) -> errors.InputError:
  return errors.InputError(
    f"filter {name!r} would remove all {count} images of class {label}: {remedy}, or take "
    "it out of the chain"
  )


def _remove(
  name: str,
  training_set: types.TrainingSet,
  removed: np.ndarray,
  values: dict[str, float],
  remedy: str,
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Removes those of the present images that are marked.

  The report's values: the share that each class lost, as `removed_share_of_class_<c>`, and
  the class that lost most; `values` besides.
  """
  present = training_set.present
  labels = training_set.labels[present]
  shares, gone = {}, _counts(labels[removed])
  for label, count in _counts(labels).items():
    shares[label] = gone.get(label, 0) / count
    if shares[label] == 1.0:
      raise _empties(name, label, count, remedy)
  most = max(shares, key=shares.__getitem__)
  values = {
    "most_removed_class": most,
    "most_removed_share": shares[most],
    **{f"removed_share_of_class_{label}": share for label, share in shares.items()},
    **values,
  }
  after = training_sets.keep(training_set, present[~removed])
  return after, training_sets.difference(training_set, after, values)
