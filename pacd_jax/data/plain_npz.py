"""A poison as other programs write it: an .npz of the changed images, without pickle.

  images    uint8 [n, H, W, C]: what victims train on
  labels    integers [n]: the labels that they train on
  indices   integers [n]: positions of the base images in the training split; -1: no base
  inserted  true or false [n]: added, in place of replacing the base; without it, none is

A run says the rest: base images, budget, target class, data set. A poison's own file
(`poison_file`) has these arrays, too, and says the rest itself.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import npz_arrays, poison_file, training_sets
from pacd_jax.runtime import files

_WANTED = ("images", "labels", "indices")


def load(
  path: str | os.PathLike, train: types.Dataset, identity: Mapping[str, Any]
) -> types.Poison:
  """Reads the arrays, and completes them to a poison.

  Args:
    path: path of the file.
    train: the training split that `indices` refer to.
    identity: the other fields of `types.Poison`: epsilon, norm, target_class, dataset,
      sigma and checksum.

  Raises:
    errors.InputError: the file is missing or damaged, lacks an array, does not fit the
      training split, or its images are over the budget.
  """
  path = files.user_path(path)
  arrays = _read(path)
  images, labels, indices = (arrays[name] for name in _WANTED)
  _check(path, images, labels, indices, train)
  inserted = arrays.get("inserted", np.zeros(len(indices), bool))
  base_images, base_labels = train.images[indices], train.labels[indices]
  alone = indices == -1
  base_images[alone], base_labels[alone] = images[alone], labels[alone]
  poison = types.Poison(
    images=images,
    base_images=base_images,
    labels=labels.astype(np.int32),
    base_labels=base_labels,
    indices=indices.astype(np.int64),
    inserted=inserted,
    clean_label=np.array_equal(labels, base_labels),
    triggered=np.zeros(len(indices), bool),
    goal=None,
    **identity,
  )
  poison_file.check(poison, path)
  try:
    training_sets.poisoned(train, poison)
  except errors.InputError as error:
    raise errors.InputError(f"{path}: {error}") from None
  return poison


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    found = npz_arrays.read(path, (*_WANTED, "inserted"))
  except OSError as error:
    raise errors.InputError(f"{path} cannot be read: {error.strerror or error}") from None
  except npz_arrays.DamagedError as error:
    raise errors.InputError(
      f"{path} is no .npz of numbers, or damaged ({error}): make it by numpy.savez"
    ) from None
  for name in _WANTED:
    if name not in found:
      raise errors.InputError(
        f"{path} has no array {name}: save {', '.join(_WANTED)} by numpy.savez"
      )
  return found


def _check(path, images, labels, indices, train: types.Dataset) -> None:
  """Checks what has to hold before base images can be looked up."""
  shape = train.images.shape[1:]
  if images.dtype != np.uint8:
    raise errors.InputError(
      f"{path}: images are {images.dtype}, not uint8: if they are in [0, 1], save "
      "numpy.rint(images * 255).astype('uint8')"
    )
  if images.ndim != 4 or images.shape[1:] != shape:
    raise errors.InputError(
      f"{path}: images are of shape {images.shape}, and must be [n, H, W, C] of "
      f"{'x'.join(map(str, shape))}, as the run's"
    )
  for name, values in (("labels", labels), ("indices", indices)):
    if values.dtype.kind not in "iu" or values.shape != (len(images),):
      raise errors.InputError(
        f"{path}: {name} are {values.dtype} of shape {values.shape}: give a whole number "
        f"for each of {len(images)} images"
      )
  no_class = labels[(labels < 0) | (labels > np.iinfo(np.int32).max)]
  if no_class.size:
    raise errors.InputError(f"{path}: label {no_class[0]} is no class: number them from 0")
  outside = indices[(indices < -1) | (indices >= len(train.labels))]
  if outside.size:
    raise errors.InputError(
      f"{path}: index {outside[0]} is no position in the run's training split, which has "
      f"{len(train.labels)} images"
    )
