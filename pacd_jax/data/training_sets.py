"""Training sets: made from a split, changed, compared, and stacked for the device.

No function modifies its arguments; results share the arrays that stay the same.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import arrays


def whole(dataset: types.Dataset) -> types.TrainingSet:
  """The training set with all images of a data set present."""
  return types.TrainingSet(*dataset, np.arange(len(dataset.labels)))


def to_dataset(training_set: types.TrainingSet) -> types.Dataset:
  """The images and labels that are present, in order."""
  images, labels, present = training_set
  if len(present) == len(labels):
    return types.Dataset(images, labels)
  return types.Dataset(images[present], labels[present])


def checksum(training_set: types.TrainingSet) -> str:
  """SHA-256 over all stored data; `arrays.checksum` if all images are present."""
  images, labels, present = training_set
  of_stored = arrays.checksum(types.Dataset(images, labels))
  if len(present) == len(labels):
    return of_stored
  digest = hashlib.sha256(of_stored.encode())
  digest.update(np.ascontiguousarray(present.astype("<i8")).data)
  return digest.hexdigest()


# --- changes --------------------------------------------------------------------------


def keep(training_set: types.TrainingSet, positions: np.ndarray) -> types.TrainingSet:
  """The set in which only these positions, given in any order, are present.

  Raises:
    errors.InputError: a position is not present in the given set.
  """
  _check_present(training_set, positions, "kept")
  return training_set._replace(present=np.unique(positions).astype(np.int64))


def relabel(
  training_set: types.TrainingSet, positions: np.ndarray, labels: np.ndarray
) -> types.TrainingSet:
  """The set with new labels `[n]` at positions `[n]`.

  Raises:
    errors.InputError: a position is not present in the given set.
  """
  _check_present(training_set, positions, "relabelled")
  changed = training_set.labels.copy()
  changed[np.asarray(positions, np.int64)] = labels
  return training_set._replace(labels=changed)


def insert(
  training_set: types.TrainingSet, images: np.ndarray, labels: np.ndarray
) -> types.TrainingSet:
  """The set with images `[n, H, W, C]` and labels `[n]` appended."""
  first = len(training_set.labels)
  return types.TrainingSet(
    np.concatenate([training_set.images, images]),
    np.concatenate([training_set.labels, labels]).astype(np.int32),
    np.concatenate([training_set.present, np.arange(first, first + len(labels))]),
  )


def _check_present(
  training_set: types.TrainingSet, positions: np.ndarray, what: str
) -> None:
  missing = np.setdiff1d(positions, training_set.present)
  if missing.size:
    raise errors.InputError(
      f"position {missing[0]} is to be {what}, but is not in the training set: give "
      "positions that are in its `present`"
    )


def poisoned(train: types.Dataset, poison: types.Poison) -> types.TrainingSet:
  """The training split with the poison in it; other images keep their positions.

  Replacing images, with their labels, are at the positions of the replaced ones; inserted
  images are appended to the split, in the poison's order.

  Raises:
    errors.InputError: the poison was made for another training split, its base images or
      base labels are not those at its indices, or it has a label above those of the split.
  """
  if poison.checksum != arrays.checksum(train):
    raise errors.InputError(
      f"the poison was made for another training split of {poison.dataset!r} (its "
      "checksum differs): use the data and the seed that it was made with"
    )
  based = poison.indices >= 0  # Inserted images need not have a base image in the split.
  indices = poison.indices[based]
  fits = (
    (based | poison.inserted).all()
    and poison.images.shape[1:] == train.images.shape[1:]
    and indices.max(initial=0) < len(train.labels)
    and np.array_equal(train.labels[indices], poison.base_labels[based])
    and np.array_equal(train.images[indices], poison.base_images[based])
  )
  if not fits:
    raise errors.InputError(
      "the poison's base images or labels are not those at its indices in "
      f"{poison.dataset!r}: make it again"
    )
  most = train.labels.max()
  if poison.labels.max(initial=0) > most:
    raise errors.InputError(
      f"the poison has label {poison.labels.max()}, but {poison.dataset!r} has classes 0 "
      f"to {most}: use these"
    )
  images, labels, new = train.images.copy(), train.labels.copy(), poison.inserted
  images[poison.indices[~new]] = poison.images[~new]
  labels[poison.indices[~new]] = poison.labels[~new]
  changed = whole(types.Dataset(images, labels))
  return insert(changed, poison.images[new], poison.labels[new]) if new.any() else changed


# --- comparisons ----------------------------------------------------------------------


def difference(
  before: types.TrainingSet,
  after: types.TrainingSet,
  values: Mapping[str, float] | None = None,
) -> types.DefenceReport:
  """Reports the changes of a set whose images kept their positions.

  Images after the last position of `before` are new, and are not listed.

  Args:
    before: the set before the changes.
    after: the set after them; it stores at least as many images.
    values: the report's `values`.
  """
  both = np.intersect1d(before.present, after.present, assume_unique=True)
  relabelled = before.labels[both] != after.labels[both]
  if before.images is after.images:
    changed = np.zeros(len(both), bool)
  else:
    changed = (before.images[both] != after.images[both]).any(axis=(1, 2, 3))
  removed = np.setdiff1d(before.present, both, assume_unique=True)
  return types.DefenceReport(removed, both[relabelled], both[changed], dict(values or {}))


def check_batch_size(
  sets: Mapping[str, types.TrainingSet],
  batch_size: int,
  field: str = "train.batch_size",
) -> None:
  """Raises an error unless every row has enough images for a mini-batch.

  Args:
    sets: the rows' training sets, by name.
    batch_size: mini-batch size of the training.
    field: the config field that it is.

  Raises:
    errors.InputError: a row has fewer images.
  """
  for row, training_set in sets.items():
    available = len(training_set.present)
    if batch_size > available:
      raise errors.InputError(
        f"config field {field} is {batch_size}, but the training set of row "
        f"{row!r} has {available} images: use at most {available}, or leave the row out"
      )


# --- for the device -------------------------------------------------------------------


def stack(sets: Sequence[types.TrainingSet]) -> types.Rows:
  """Stacks training sets whose images have one shape into `types.Rows` of host arrays."""
  most = max(len(training_set.labels) for training_set in sets)
  sizes = np.array([len(training_set.present) for training_set in sets], np.int32)
  images = np.zeros((len(sets), most, *sets[0].images.shape[1:]), np.uint8)
  labels = np.zeros((len(sets), most), np.int32)
  present = np.zeros((len(sets), sizes.max()), np.int32)
  for row, (of_row, labels_of_row, there) in enumerate(sets):
    images[row, : len(of_row)] = of_row
    labels[row, : len(of_row)] = labels_of_row
    present[row, : len(there)] = there
    present[row, len(there) :] = there[-1:]
  return types.Rows(images, labels, present, sizes if np.ptp(sizes) else None)
