"""Sources of images, before any split: scikit-learn's digits, and your own .npz file."""

import os
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import npz_arrays
from pacd_jax.runtime import files


class Source(NamedTuple):
  """The contents of a data set; every label is in [0, num_classes)."""

  description: str  # What results call the data.
  num_classes: int
  train: types.Dataset  # All images, if there is no `test`.
  test: types.Dataset | None  # The standard test split, in its own order.


def digits() -> Source:
  """scikit-learn's 1,797 handwritten 8x8 digits (UCI), 16 grey levels, as uint8."""
  from sklearn import datasets  # Imported here: it costs a second.

  images, labels = datasets.load_digits(return_X_y=True)
  pixels = np.rint(images * (255.0 / 16.0)).astype(np.uint8)
  dataset = types.Dataset(pixels.reshape(-1, 8, 8, 1), labels.astype(np.int32))
  return Source("digits", 10, dataset, None)


def npz(path: str | os.PathLike | None) -> Source:
  """Reads your own images: an .npz of arrays, without pickle.

  Args:
    path: path of a file with `images`, uint8 `[N, H, W, C]` (or `[N, H, W]`, C = 1), and
      `labels`, integers `[N]` that are 0..K-1 with K >= 2, each at least once; optionally
      `test_images` and `test_labels`, the same for a standard test split.

  Returns:
    The images, described by the file's name.

  Raises:
    errors.InputError: the file is missing or damaged, or its arrays are invalid.
  """
  if not path:
    raise errors.InputError(
      "data.name=npz needs a file: set data.path to an .npz with images and labels"
    )
  path = files.user_path(path)
  return of_arrays(_read_arrays(path), path.name, path)


def of_arrays(
  arrays: Mapping[str, np.ndarray], description: str, where: pathlib.Path | str = "arrays"
) -> Source:
  """Checks your own images in memory: the arrays that `npz` reads.

  Args:
    arrays: `images`, `labels`, and optionally `test_images` and `test_labels`.
    description: what results call the data.
    where: the arrays' origin in error messages.

  Raises:
    errors.InputError: an array has the wrong type, shape or range.
  """
  path, train = where, _dataset(where, arrays, "images", "labels")
  num_classes = _num_classes(path, train.labels)
  test = None
  if "test_images" in arrays or "test_labels" in arrays:
    test = _dataset(path, arrays, "test_images", "test_labels")
    shapes = train.images.shape[1:], test.images.shape[1:]
    if shapes[0] != shapes[1]:
      raise errors.InputError(
        f"{path}: images are {shapes[0]} but test_images {shapes[1]}: give both one shape"
      )
    if test.labels.max() >= num_classes:
      raise errors.InputError(
        f"{path}: test_labels hold class {test.labels.max()}, which labels lack: leave "
        "its images out, or add some to images"
      )
  return Source(description, num_classes, train, test)


_ARRAYS = ("images", "labels", "test_images", "test_labels")


def _read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads those of `_ARRAYS` that the file has."""
  save = "make it with numpy.savez(FILE, images=..., labels=...)"
  try:
    found = npz_arrays.read(path, _ARRAYS)
  except OSError as error:
    raise errors.InputError(f"data.path={path}: {error.strerror}") from None
  except npz_arrays.DamagedError as error:
    raise errors.InputError(
      f"{path}: {error}: {error.remedy}"
      if error.remedy
      else f"{path}: no .npz file, or a damaged one ({error}): {save}"
    ) from None
  for name in ("images", "labels"):
    if name not in found:
      present = ", ".join(npz_arrays.names(path)) or "nothing"
      raise errors.InputError(f"{path}: it has no array {name}, but {present}: {save}")
  return found


def _dataset(
  path: pathlib.Path | str,
  arrays: Mapping[str, np.ndarray],
  images_name: str,
  labels_name: str,
) -> types.Dataset:
  """Checks one pair of arrays by itself; labels must be at least 0."""
  for name, other in ((images_name, labels_name), (labels_name, images_name)):
    if name not in arrays:
      raise errors.InputError(f"{path}: it has {other} but no {name}: add them")
  images, labels = arrays[images_name], arrays[labels_name]
  if images.dtype != np.uint8:
    raise errors.InputError(
      f"{path}: {images_name} are {images.dtype}, not uint8: if they are in [0, 1], save "
      f"numpy.rint({images_name} * 255).astype('uint8')"
    )
  if images.ndim not in (3, 4):
    raise errors.InputError(
      f"{path}: {images_name} have shape {images.shape}: it must be [N, H, W, C] or "
      "[N, H, W]"
    )
  if not images.size:
    raise errors.InputError(f"{path}: {images_name} are empty, of shape {images.shape}")
  if images.ndim == 3:
    images = images[..., None]
  if images.shape[1] <= 4 < images.shape[3]:
    raise errors.InputError(
      f"{path}: {images_name} of shape {images.shape} look like [N, C, H, W]: save "
      f"{images_name}.transpose(0, 2, 3, 1)"
    )
  if images.shape[3] not in (1, 3):
    raise errors.InputError(
      f"{path}: {images_name} of shape {images.shape} have {images.shape[3]} channels: "
      "save grey images, of one channel, or images of three colours"
    )
  if labels.dtype.kind not in "iu" or labels.ndim != 1:
    raise errors.InputError(
      f"{path}: {labels_name} are {labels.dtype} of shape {labels.shape}: they must be "
      "one integer for each image, [N]"
    )
  if len(labels) != len(images):
    raise errors.InputError(
      f"{path}: {len(images)} {images_name} but {len(labels)} {labels_name}: each image "
      "needs one label"
    )
  if labels.min() < 0 or labels.max() > np.iinfo(np.int32).max:
    raise errors.InputError(
      f"{path}: {labels_name} are from {labels.min()} to {labels.max()}: number the "
      "classes 0, 1, 2, ..."
    )
  return types.Dataset(np.ascontiguousarray(images), labels.astype(np.int32))


def _num_classes(path: pathlib.Path | str, labels: np.ndarray) -> int:
  """The number of classes K; raises InputError unless labels are 0..K-1 without a gap."""
  present = np.unique(labels)
  if len(present) < 2:
    raise errors.InputError(f"{path}: all labels are {present[0]}: two classes at least")
  gap = np.flatnonzero(present != np.arange(len(present)))
  if gap.size:
    raise errors.InputError(
      f"{path}: labels go up to {present[-1]} but none is {gap[0]}: number the classes "
      "0, 1, 2, ... without a gap"
    )
  return len(present)
