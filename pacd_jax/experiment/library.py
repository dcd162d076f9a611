"""Poisoning and training on arrays in memory, for programs: no data files, no commands.

A config says how, as for a command: one of the package's, by its name (`door.named`), with
any field changed. `pacd_jax` exports these functions.
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import sources, splits, training_sets
from pacd_jax.defenses.transforms import forms
from pacd_jax.experiment import (
  assembly,
  door,
  kinds,
  schema,
  stages,
  transforms,
  victims,
)
from pacd_jax.experiment.config import Config
from pacd_jax.experiment.entries import data_sets
from pacd_jax.experiment.making import INSIDE, TRAIN


def split_arrays(
  images: np.ndarray,
  labels: np.ndarray,
  test_images: np.ndarray | None = None,
  test_labels: np.ndarray | None = None,
  *,
  name: str = "arrays",
  seed: int = 0,
) -> types.Splits:
  """Cuts images in memory into a training, a validation and a test split.

  Args:
    images: uint8 `[N, H, W, C]` (or `[N, H, W]`, C = 1), C = 1 or 3.
    labels: integers `[N]`, 0..K-1, each at least once.
    test_images, test_labels: a standard test split; without it the parts are 60 / 20 / 20
      percent, with it a tenth of the images becomes validation.
    name: what results and poisons call the data.
    seed: the seed of the split.

  Returns:
    Splits of uint8 images `[N, H, W, C]` and int32 labels `[N]`.

  Raises:
    errors.InputError: the arrays have another type, shape or range, or are too few.
  """
  if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
    raise errors.InputError(f"seed is {seed!r}: give a whole number from 0 to 2**32 - 1")
  given = {"images": images, "labels": labels}
  if test_images is not None:
    given["test_images"] = test_images
  if test_labels is not None:
    given["test_labels"] = test_labels
  arrays = {name: np.asarray(value) for name, value in given.items()}
  return splits.cut(sources.of_arrays(arrays, name), name, seed=seed)


def make_config(
  name: str = "digits_ga", variant: str = "", changes: Mapping[str, Any] | None = None
) -> Config:
  """The config of one of the package's experiments, with some fields changed.

  `make_config("mnist_ga", "fast", {"attack.epsilon": 0.2, "data.target_class": 3})`.

  Args:
    name: a file in `configs/`, without `.py`.
    variant: what would stand behind the colon on a command line.
    changes: fields by their flat names; docs/configuration.md lists them.

  Raises:
    errors.InputError: there is no such config, or a field cannot be used.
  """
  for what, given in (("name", name), ("variant", variant)):
    if not isinstance(given, str):
      raise errors.InputError(f"{what} is {given!r}: give a text, such as 'digits_ga'")
  if changes is not None and not isinstance(changes, Mapping):
    raise errors.InputError(
      f"changes is {type(changes).__name__}: give a dictionary, such as {{'sigma': 0.5}}"
    )
  if ":" in name:
    raise errors.InputError(
      f"config {name!r}: give the variant by itself: {tuple(name.split(':', 1))}"
    )
  try:
    return door.named(name, variant, changes)
  except ValueError as error:  # From a config file.
    raise errors.InputError(str(error)) from None


def poison(
  data: types.Splits,
  config: Config,
  workdir: str | os.PathLike[str],
  *,
  row: str = types.PACD,
  allow_other_versions: bool = False,
) -> types.Poison:
  """Poisons arrays of yours with one attack, as `main.py --stage=attack` does.

  The attack sees the training and the validation split alone, and `data.target_points` of
  the test split if there are any. A killed attack is resumed; a finished one is read from
  its file.

  Args:
    data: the splits, as `split_arrays` gives them.
    config: a run's config, as `make_config` gives it; its `data.name` is ignored.
    workdir: a folder of its own; `poison/<row>.npz` is the poison's file.
    row: the attack: one of `kinds.ROWS`. Each has a folder of its own.
    allow_other_versions: whether to resume what other code or versions began.

  Returns:
    The poison as saved: images in 8 bits and within `attack.epsilon` of their bases.

  Raises:
    errors.InputError: a field or the data cannot be used, or the folder is another run's.
    errors.NonFiniteError: a value of a step is not finite.
  """
  _check_type("data", data, types.Splits, "split_arrays")
  _check_type("config", config, Config, "make_config")
  if row not in kinds.ROWS or row == types.CLEAN:
    known = ", ".join(name for name in kinds.ROWS.names if name != types.CLEAN)
    raise errors.InputError(f"row={row!r}: it must be one of {known}")
  fields = {"rows": (types.CLEAN, row), "data.name": data_sets.ARRAYS, "data.num_train": 0}
  fields |= {"data.data_dir": "", "data.path": ""}
  config = schema.replaced(config, fields)
  plan = door.build(config, workdir, lambda *args, **kwargs: data)
  stages.run_alone(plan, ("attack",), allow_other_versions=allow_other_versions)
  return plan.training_sets.poison(row)


def apply_poison(train: types.Dataset, poison: types.Poison) -> types.TrainingSet:
  """The training set with the poison in it: `data.train` as a victim gets it.

  Raises:
    errors.InputError: the poison is of another training split.
  """
  _check_type("train", train, types.Dataset, "split_arrays(...).train")
  _check_type("poison", poison, types.Poison, "poison")
  return training_sets.poisoned(train, poison)


def _check_type(name: str, value: Any, kind: type, maker: str) -> None:
  if not isinstance(value, kind):
    raise errors.InputError(
      f"{name} is {type(value).__name__}, not {kind.__name__}: give what pacd_jax.{maker} "
      "returns"
    )


class Victims(NamedTuple):
  """Trained networks."""

  # `apply(params, images)`: logits `[B, K]`; of what is in `defense.inside`, too.
  apply: types.ApplyFn
  params: list[types.Params]  # One for each victim.


def train_victims(
  training_set: types.TrainingSet | types.Dataset,
  config: Config,
  *,
  num_classes: int | None = None,
) -> Victims:
  """Trains networks from scratch as a run's victims: `config.train`, `.model`, `.sigma`.

  All of `train.num_victims` seeds are trained in one compiled program; nothing is saved.

  Args:
    training_set: uint8 images `[M, H, W, C]` with labels; of a `TrainingSet`, those that
      are present.
    config: a run's config, as `make_config` gives it.
    num_classes: K; by default the largest label plus 1.

  Returns:
    The networks, which `pacd_jax.certify` takes one by one.

  Raises:
    errors.InputError: there are fewer images than `train.batch_size`, or the config has
      epochs of recovery.
    errors.NonFiniteError: a loss is not finite.
  """
  _check_type("config", config, Config, "make_config")
  if not isinstance(training_set, types.TrainingSet):
    _check_type("training_set", training_set, types.Dataset, "apply_poison")
  for field, is_set, why in (
    ("train.recovery_epochs", config.train.recovery_epochs, "clean images beside these"),
    ("train.weight_decay_choices", config.train.weight_decay_choices, "a run"),
    ("train.frozen_features", config.train.frozen_features, "a run, with clean images"),
    ("train.stopping.every", config.train.stopping.every, "a run, with trusted images"),
    ("defense.chain", config.defense.chain.names, "a run, with trusted images"),
    ("denoiser.loss", config.denoiser.loss.name != "none", "a run, which trains it last"),
  ):
    if is_set:
      raise errors.InputError(f"config field {field} needs {why}: leave it as it is")
  if isinstance(training_set, types.Dataset):
    training_set = training_sets.whole(training_set)
  trusted = [n for n in config.defense.inside.names if kinds.TRANSFORMS[n].needs_trusted]
  if trusted:
    raise errors.InputError(
      f"config field defense.inside has {trusted[0]}, which needs a run, with trusted "
      "images: leave it out"
    )
  if kinds.LOSSES[config.train.loss.name].needs_manifold:
    raise errors.InputError(
      f"config field train.loss={config.train.loss.name} needs a run, with trusted images "
      "for its manifold: use another loss"
    )
  data = training_sets.to_dataset(training_set)
  if num_classes is None:
    num_classes = int(data.labels.max()) + 1
  whole = types.Splits("arrays", num_classes, data, data, data, "arrays")
  network, _ = assembly.network(config, whole)
  root = jax.random.key(config.seed)
  inside = transforms.inside(config, whole, jax.random.fold_in(root, INSIDE))
  model = forms.before(network, inside)
  key = jax.random.fold_in(root, TRAIN)
  plan = assembly.training(config, whole, model, key)
  params = victims.train(plan, training_set, plan.keys, stage="train")
  return Victims(
    model.apply,
    [jax.tree.map(lambda leaf, v=v: leaf[v], params) for v in range(len(plan.keys))],
  )
