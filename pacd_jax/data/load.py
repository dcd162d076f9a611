"""Data sets as uint8 images in three splits, and the batches drawn from them.

Everything here is a function of stored images and a seed. The attack sees `train` and
`validation`; `test` is for certificates and reported accuracies alone, but for single
points of it that an attack may be after (`data.target_points` of a config).

As a program, `python -m pacd_jax.data prepare mnist --data_dir=DIR` stores a data set.
"""

import os

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import sources, tfds_folder

# The part of a training split that becomes validation, where there is a standard test
# split: 5,000 of 60,000 and of 50,000, and a tenth of other images.
_VALIDATION_SHARE = {"mnist": 12, "cifar10": 10, "npz": 10}
_LEAST_OF_A_CLASS = 5  # Where there is none: a fifth of five is one.
NAMES = ("digits", *tfds_folder.NAMES, "npz")


def load(
  name: str,
  *,
  seed: int = 0,
  data_dir: str | os.PathLike | None = None,
  path: str | os.PathLike | None = None,
  num_train: int = 0,
) -> types.Splits:
  """Loads a data set and cuts it into its splits.

  With a standard test split (mnist, cifar10, npz with `test_images`), validation is drawn
  from the training images: a twelfth of them for mnist, a tenth else, rounded down. Without
  one (digits, npz), the parts are 60 / 20 / 20 percent. Either way each class gives its
  share, at random by the seed; a standard test split is the same for every seed.

  Args:
    name: one of `NAMES`.
    seed: of the split.
    data_dir: where prepared data sets are, for mnist and cifar10; None or "": where TFDS
      has them by default.
    path: the .npz file, for npz; see `sources.npz`.
    num_train: keep so many training images, drawn at random by the seed, each class its
      share; 0: all.

  Returns:
    Splits of uint8 images `[N, H, W, C]` and int32 labels `[N]`.

  Raises:
    errors.InputError: the name is unknown, the data are missing or damaged, or too few.
  """
  source = _read(name, data_dir, path)
  if source.test is None:
    train, validation, test = _three_parts(source, name, seed)
  else:
    num_validation = max(1, len(source.train.labels) // _VALIDATION_SHARE[name])
    validation, train = _draw(source.train, num_validation, seed=(seed, 0))
    test = source.test
  description = source.description
  if num_train:
    if not 0 < num_train <= len(train.labels):
      raise errors.InputError(
        f"data.num_train={num_train}: the training split has {len(train.labels)} images: "
        "use at most so many, or 0 for all"
      )
    train, _ = _draw(train, num_train, seed=(seed, 1))
    description += f", {num_train:,} training images"
  absent = np.setdiff1d(np.arange(source.num_classes), train.labels)
  if absent.size:
    raise errors.InputError(
      f"data.name={name}: no image of class {absent[0]} is left for training: "
      + ("raise data.num_train" if num_train else "give that class more images")
    )
  return types.Splits(name, source.num_classes, train, validation, test, description)


def _read(name: str, data_dir, path) -> sources.Source:
  """The stored images; options that the data set does not have are refused."""
  if name not in NAMES:
    raise errors.InputError(
      f"data.name={name!r} is not a known data set: use one of {', '.join(NAMES)}"
    )
  if path and name != "npz":
    raise errors.InputError(
      f"data.path={path} is for data.name=npz, not for {name}: leave one of them out"
    )
  if data_dir and name not in tfds_folder.NAMES:
    raise errors.InputError(
      f"data.data_dir={data_dir} is for {' and '.join(tfds_folder.NAMES)}, not for "
      f"{name}: leave it out"
    )
  if name == "digits":
    return sources.digits()
  if name == "npz":
    return sources.npz(path)
  return tfds_folder.load(name, data_dir)


def _three_parts(source: sources.Source, name: str, seed: int) -> list[types.Dataset]:
  """60 / 20 / 20 percent of every class, shuffled by the seed."""
  from sklearn import model_selection  # Imported here: it costs a second.

  images, labels = source.train
  counts = np.bincount(labels)
  if counts.min() < _LEAST_OF_A_CLASS:
    raise errors.InputError(
      f"data.name={name}: class {counts.argmin()} has {counts.min()} images: three "
      f"splits need at least {_LEAST_OF_A_CLASS} of each class"
    )
  rest, test = model_selection.train_test_split(
    np.arange(len(labels)), test_size=0.2, random_state=seed, stratify=labels
  )
  train, validation = model_selection.train_test_split(
    rest, test_size=0.25, random_state=seed, stratify=labels[rest]
  )
  return [types.Dataset(images[part], labels[part]) for part in (train, validation, test)]


def _draw(
  dataset: types.Dataset, count: int, *, seed: tuple[int, int]
) -> tuple[types.Dataset, types.Dataset]:
  """`count` images drawn at random, every class in proportion, and those left; shuffled.

  Classes whose shares are no whole numbers are rounded by their largest remainders.
  """
  images, labels = dataset
  order = np.random.default_rng(seed).permutation(len(labels))
  classes, sizes = np.unique(labels, return_counts=True)
  quotas, remainders = np.divmod(sizes * count, len(labels))
  quotas[np.argsort(-remainders, kind="stable")[: count - quotas.sum()]] += 1
  drawn = np.zeros(len(labels), bool)
  for label, quota in zip(classes, quotas, strict=True):
    drawn[order[labels[order] == label][:quota]] = True
  chosen, left = order[drawn[order]], order[~drawn[order]]
  return tuple(types.Dataset(images[part], labels[part]) for part in (chosen, left))
