"""The data and the features of `pacd robustness`."""

import functools

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import arrays
from pacd_jax.defenses.filters import representation
from pacd_jax.experiment import door, kinds, stages
from pacd_jax.experiment.entries import data_sets
from pacd_jax.runtime import files

PIXELS = "pixels"
_BY_NAME = tuple(
  entry.name for entry in kinds.DATA_SETS if entry.name not in ("npz", data_sets.ARRAYS)
)


def load(given: str, *, seed: int, data_dir: str, num_train: int) -> types.Splits:
  """The splits of a data set by its name, or of an .npz.

  Raises:
    errors.InputError: there is no such data set or file, or it is damaged.
  """
  if given in _BY_NAME:
    return data_sets.load(given, seed=seed, data_dir=data_dir, num_train=num_train)
  path = files.user_path(given)
  if not path.is_file():
    raise errors.InputError(
      f"{given}: no such file, and no data set: give an .npz, or {', '.join(_BY_NAME)}"
    )
  if data_dir:
    raise errors.InputError(
      "--data_dir is for prepared data, not for an .npz: leave it out"
    )
  return data_sets.load("npz", seed=seed, path=path, num_train=num_train)


def features(
  name: str, train: types.Dataset, images: np.ndarray, splits: types.Splits
) -> tuple[np.ndarray, np.ndarray]:
  """What the certificates see of training images, `[n, D]`, and of others, `[B, D]`.

  Args:
    name: "pixels", in [0, 1], or the folder of a run that saw none of the images.
    train: training images.
    images: uint8, those that are certified.
    splits: all images, of which the run may have seen none.

  Raises:
    errors.InputError: there is no such run, its victims are not trained, it saw some of the
      images, or its network takes no images of their shape or shows no features.
  """
  if name == PIXELS:
    return _pixels(train.images), _pixels(images)
  plan = door.load(name)
  shape, own = plan.splits.train.images.shape[1:], train.images.shape[1:]
  if shape != own:
    raise errors.InputError(
      f"--features={name} takes images {shape}, and the data are {own}"
    )
  seen = _contents(plan.splits.train.images) | _contents(plan.splits.validation.images)
  common = sum(len(seen & _contents(each.images)) for each in (train, splits.test))
  if common:
    raise errors.InputError(
      f"--features={name} saw {common} of these images with their labels: features that a "
      "label had an influence on certify nothing; use pixels, or a run on other images"
    )
  if types.CLEAN not in plan.rows or not plan.folder.checkpoints("train").exists():
    raise errors.InputError(
      f"--features={name} has no clean victim: run --stage=train first"
    )
  if plan.model.features is None:
    raise errors.InputError(f"--features={name}: {plan.model_name} shows no features")
  params = stages.load_victims(plan)[types.CLEAN, 0]
  shown = functools.partial(representation.in_batches, plan.model.features, params)
  return shown(train.images).astype(np.float64), shown(images).astype(np.float64)


def _pixels(images: np.ndarray) -> np.ndarray:
  return arrays.to_float(images).reshape(len(images), -1).astype(np.float64)


def _contents(images: np.ndarray) -> set[bytes]:
  return {image.tobytes() for image in images}
