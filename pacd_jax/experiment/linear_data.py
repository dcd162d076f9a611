"""The data of `pacd linear`: two classes of a data set, or groups of them, as points."""

from typing import NamedTuple

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import arrays
from pacd_jax.experiment import robustness_data

Groups = tuple[tuple[int, ...], tuple[int, ...]]


class TwoClasses(NamedTuple):
  """Label 0 is the first group of classes, sign -1, and label 1 the second, +1."""

  groups: Groups  # Labels in the data set.
  train: types.Dataset
  validation: types.Dataset
  test: types.Dataset
  description: str


def groups(text: str) -> Groups:
  """Two groups of labels, such as "3,8" or "0+2+4,1+3+5".

  Raises:
    errors.InputError: they are not two, or share a label.
  """
  try:
    found = tuple(tuple(map(int, part.split("+"))) for part in text.split(","))
  except ValueError:
    found = ()
  every = [label for group in found for label in group]
  if len(found) != 2 or len(set(every)) != len(every):
    raise errors.InputError(
      f"--classes={text}: give two different labels, such as 3,8, or two groups of them, "
      "such as 0+2+4,1+3+5"
    )
  return found[0], found[1]


def load(given: str, of: Groups | None, *, seed: int, data_dir: str) -> TwoClasses:
  """Two classes of a data set by its name, or of an .npz.

  Args:
    given: digits, mnist, cifar10, or the path of an .npz.
    of: their labels; None: the data have two.
    seed: of the splits.
    data_dir: where prepared data are.

  Raises:
    errors.InputError: there is no such data set or file, it is damaged, has other classes,
      or a split has images of one class only.
  """
  splits = robustness_data.load(given, seed=seed, data_dir=data_dir, num_train=0)
  if of is None:
    if splits.num_classes != 2:
      raise errors.InputError(
        f"{given} has {splits.num_classes} classes, and a linear classifier here tells two "
        "apart: name them by --classes=3,8, say"
      )
    of = (0,), (1,)
  every = [label for group in of for label in group]
  unknown = [label for label in every if not 0 <= label < splits.num_classes]
  if unknown:
    raise errors.InputError(
      f"--classes: {given} has no class {unknown[0]}: use some of 0 to "
      f"{splits.num_classes - 1}"
    )

  def part(name: str, dataset: types.Dataset) -> types.Dataset:
    found = _of(dataset, of)
    if len(np.unique(found.labels)) < 2:
      raise errors.InputError(
        f"{given}: the {name} split has no images of one of the two classes: give more"
      )
    return found

  return TwoClasses(
    of,
    part("training", splits.train),
    part("validation", splits.validation),
    part("test", splits.test),
    splits.description,
  )


def points(images: np.ndarray) -> np.ndarray:
  """Images uint8 `[N, H, W, C]` as points in [0, 1], float64 `[N, d]`."""
  return arrays.to_float(images).reshape(len(images), -1).astype(np.float64)


def images(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """Points `[N, d]` in [0, 1] as uint8 images `[N, *shape]`, rounded to 8 bits."""
  return np.rint(points * 255.0).astype(np.uint8).reshape(len(points), *shape)


def signs(labels: np.ndarray) -> np.ndarray:
  """Labels 0 and 1 as -1 and +1, float64."""
  return np.where(labels == 1, 1.0, -1.0)


def _of(dataset: types.Dataset, of: Groups) -> types.Dataset:
  first, second = (np.isin(dataset.labels, group) for group in of)
  chosen = first | second
  return types.Dataset(dataset.images[chosen], second[chosen].astype(np.int32))
