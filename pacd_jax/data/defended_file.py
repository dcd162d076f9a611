"""Defended training sets `defense/<row>.npz`, stored as differences.

A file holds changed and new images alone; the others are those of the set before the
defences, which it identifies by a checksum.
"""

import io
import os

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import npz_arrays, training_sets

# Fields, with their dtype and rank.
_FIELDS = {
  "before": ("U", 0),  # `training_sets.checksum` of the set before the defences.
  "after": ("U", 0),  # The same of the set after them.
  "present": ("i", 1),  # `[n]`, positions that are present.
  "labels": ("i", 1),  # `[M]`, labels of all stored images.
  "changed": ("i", 1),  # `[c]`, positions of changed images, not of new ones.
  "changed_images": ("u", 4),  # `[c, H, W, C]`.
  "new_images": ("u", 4),  # Stored after the last position of the set before.
}
REMEDY = "delete it and rerun --stage=train"


def contents(before: types.TrainingSet, after: types.TrainingSet) -> bytes:
  """The bytes of the file of a defended training set.

  Args:
    before: the set before the defences.
    after: the set after them, in which stored images keep their positions.
  """
  size = len(before.labels)
  moved = (before.images != after.images[:size]).any(axis=(1, 2, 3))
  changed = np.flatnonzero(moved)
  fields = {
    "before": training_sets.checksum(before),
    "after": training_sets.checksum(after),
    "present": after.present,
    "labels": after.labels,
    "changed": changed,
    "changed_images": after.images[changed],
    "new_images": after.images[size:],
  }
  file = io.BytesIO()
  np.savez_compressed(file, **fields)
  return file.getvalue()


def changed_images(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
  """The positions of changed images, and these, uint8 `[c, H, W, C]`.

  Raises:
    errors.InputError: the file is damaged.
  """
  found = _read(path)
  return found["changed"], found["changed_images"]


def load(path: str | os.PathLike, before: types.TrainingSet) -> types.TrainingSet:
  """Reads the training set that defences returned.

  Args:
    path: path of the file.
    before: the set before the defences.

  Raises:
    errors.InputError: the file is damaged, or was made from another training set.
  """
  found = _read(path)
  if str(found["before"]) != training_sets.checksum(before):
    raise errors.InputError(
      f"{path} was made of another training set (its checksum differs): {REMEDY}"
    )
  contradiction = errors.InputError(f"{path}: its arrays contradict its checksum: {REMEDY}")
  try:
    images = np.concatenate([before.images, found["new_images"]])
    images[found["changed"]] = found["changed_images"]
  except (ValueError, IndexError):
    raise contradiction from None
  after = types.TrainingSet(images, found["labels"], found["present"])
  if str(found["after"]) != training_sets.checksum(after):
    raise contradiction
  return after


def _read(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """The fields of a file, checked by dtype and rank."""
  try:
    found = npz_arrays.read(path, _FIELDS)
  except (OSError, npz_arrays.DamagedError) as error:
    raise errors.InputError(
      f"{path}: it is truncated or no defended training set ({error}): {REMEDY}"
    ) from None
  for name, (kind, rank) in _FIELDS.items():
    if name not in found:
      raise errors.InputError(f"{path}: it has no field {name}: {REMEDY}")
    if found[name].dtype.kind != kind or found[name].ndim != rank:
      raise errors.InputError(
        f"{path}: {name} is {found[name].dtype} of shape {found[name].shape}: {REMEDY}"
      )
  return found
