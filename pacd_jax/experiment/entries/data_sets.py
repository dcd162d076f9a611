"""Data sets by name: `data.name`."""

import os
from typing import Any

from pacd_jax import errors, types
from pacd_jax.data import sources, splits, tfds_folder
from pacd_jax.experiment import kinds

ARRAYS = "arrays"  # Images in memory, which no file has.

kinds.DATA_SETS.add(
  kinds.DataSet(
    "digits",
    lambda tools, options: sources.digits(),
    "scikit-learn's 1,797 digits of 8x8 pixels",
  )
)
kinds.DATA_SETS.add(
  kinds.DataSet(
    "mnist",
    lambda tools, options: tfds_folder.load("mnist", tools.data_dir),
    "MNIST as TensorFlow Datasets prepares it",
    takes=("data_dir",),
    validation_share=12,
  )
)
kinds.DATA_SETS.add(
  kinds.DataSet(
    "cifar10",
    lambda tools, options: tfds_folder.load("cifar10", tools.data_dir),
    "CIFAR-10 as TensorFlow Datasets prepares it",
    takes=("data_dir",),
  )
)
kinds.DATA_SETS.add(
  kinds.DataSet(
    "npz",
    lambda tools, options: sources.npz(tools.path),
    "your own images, in the file data.path",
    takes=("path",),
  )
)


def _in_memory(tools: kinds.SourceTools, options: Any) -> sources.Source:
  del tools, options
  raise errors.InputError(
    f"data.name={ARRAYS} is of a program that has the images in memory: it gives them to "
    "pacd_jax.poison, and to pacd_jax.load_run"
  )


kinds.DATA_SETS.add(
  kinds.DataSet(ARRAYS, _in_memory, "arrays that a program gives to `pacd_jax.poison`")
)


def load(
  name: str,
  *,
  seed: int = 0,
  data_dir: str | os.PathLike | None = None,
  path: str | os.PathLike | None = None,
  num_train: int = 0,
  options: Any = None,
) -> types.Splits:
  """Loads a data set and cuts it into its splits (`splits.cut`).

  Args:
    name: the name of an entry of `kinds.DATA_SETS`.
    seed: the seed of the split.
    data_dir: where prepared data sets are, for mnist and cifar10; None or "": where TFDS
      has them by default.
    path: the .npz file, for npz; see `sources.npz`.
    num_train: the number of training images to keep; 0: all.
    options: the entry's options, if it has any.

  Raises:
    errors.InputError: the name is unknown, the data are missing or damaged, or too few.
  """
  names = kinds.DATA_SETS.names
  if name not in names:
    raise errors.InputError(
      f"data.name={name!r} is not a known data set: use one of {', '.join(names)}"
    )
  entry = kinds.DATA_SETS[name]
  for field, value in (("path", path), ("data_dir", data_dir)):
    if value and field not in entry.takes:
      takers = [each.name for each in kinds.DATA_SETS if field in each.takes]
      whose = " and ".join(takers) if len(takers) > 1 else f"data.name={takers[0]}"
      raise errors.InputError(
        f"data.{field}={value} is for {whose}, not for {name}: leave it out, or use "
        f"data.name={takers[0]}"
      )
  tools = kinds.SourceTools(os.fspath(data_dir or ""), os.fspath(path or ""))
  if options is None and entry.options is not None:
    options = entry.options()
  return splits.cut(
    entry.load(tools, options),
    name,
    seed=seed,
    num_train=num_train,
    validation_share=entry.validation_share,
  )
