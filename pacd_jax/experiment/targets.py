"""What an attack changes and what it targets, by the config: a class or a part of it."""

import functools
from collections.abc import Callable

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.attacks import problem
from pacd_jax.attacks.targeted import surrogate
from pacd_jax.data import arrays
from pacd_jax.experiment import kinds, row_tools
from pacd_jax.experiment.config import Config


def checked_points(config: Config, splits: types.Splits) -> tuple[int, ...]:
  """Checks and returns `data.target_points`, which may be empty.

  Raises:
    errors.InputError: a point is not in the test split, or is of another class.
  """
  chosen, target = config.data.target_points, config.data.target_class
  labels = splits.test.labels
  for point in chosen:
    if point >= len(labels):
      raise errors.InputError(
        f"config field data.target_points has {point}, but the test split of {splits.name} "
        f"has {len(labels)} images: use at most {len(labels) - 1}"
      )
    if labels[point] != target:
      first = ", ".join(map(str, np.flatnonzero(labels == target)[:5]))
      raise errors.InputError(
        f"config field data.target_points has {point}, which is of class {labels[point]}, "
        f"not of data.target_class={target}: use points such as {first}"
      )
  return chosen


def made_rows(config: Config) -> list[kinds.Row]:
  """The rows that a run makes itself: a given poison does not ask for its row's options."""
  names = {row for row in config.rows.names if not config.poisons.get(row)}
  return [entry for entry in kinds.ROWS if entry.name in names]


def check_target(config: Config, splits: types.Splits, entry: kinds.Row) -> None:
  """Checks the test image that a row wants to get the label `data.target_class`.

  Raises:
    errors.InputError: there is no such image, it has that label, or an identical one is
      among the training images; or the class has fewer images than the row is to change.
  """
  options = config.rows.options[entry.name]
  point, label, test = options.target, config.data.target_class, splits.test
  available = len(poisoned(config, splits))
  if options.num_images > available:
    raise errors.InputError(
      f"config field {entry.name}.num_images is {options.num_images}, but the attack may "
      f"change {available} images of class {label} (attack.poisoned_fraction="
      f"{config.attack.poisoned_fraction:g}): use at most {available}"
    )
  field = f"config field {entry.name}.target is {point}"
  others = np.flatnonzero(test.labels != label)
  if point >= len(test.labels):
    raise errors.InputError(
      f"{field}, but the test split of {splits.name} has {len(test.labels)} images: use at "
      f"most {len(test.labels) - 1}"
    )
  if test.labels[point] == label:
    raise errors.InputError(
      f"{field}, which is of class {label} already, the label that it is to get "
      f"(data.target_class): use a point such as {', '.join(map(str, others[:5]))}"
    )
  same = (splits.train.images == test.images[point]).all(axis=(1, 2, 3))
  if same.any():
    raise errors.InputError(
      f"{field}, but training image {same.argmax()} is the same: use a target that is not "
      "in the training set"
    )


def check_features(config: Config, model: types.Model) -> None:
  """Raises `errors.InputError` if a row needs features that the network does not show."""
  for entry in made_rows(config):
    if entry.needs_features and model.features is None:
      raise errors.InputError(
        f"config field rows has {entry.name!r}, which needs the features of a network, and "
        f"model.name={config.model.name.name} shows none: use another model, or leave the "
        "row out"
      )


def poisoned(config: Config, splits: types.Splits) -> np.ndarray:
  """The training images that every attack of the run changes: int64 `[n]`, in order."""
  return arrays.poisoned_indices(
    splits.train,
    config.data.target_class,
    fraction=config.attack.poisoned_fraction,
    seed=config.seed,
  )


def points(config: Config) -> np.ndarray | None:
  """The test points that the attack targets, int64 `[m]` in order; None: the class."""
  chosen = config.data.target_points
  return np.sort(np.asarray(chosen, np.int64)) if chosen else None


def attack_data(config: Config, splits: types.Splits) -> problem.AttackData:
  """The data that the attacker sees, put on the device."""
  return problem.attack_data(
    splits,
    config.data.target_class,
    poisoned=poisoned(config, splits),
    points=points(config),
  )


def clean_network(
  config: Config,
  splits: types.Splits,
  settings: Callable[[], problem.Settings],
  key: types.Key,
) -> Callable[[int, int], types.Params]:
  """`of(k, num_steps)`: the parameters of the attacker's k-th network of clean images.

  Trained at the first call for k and num_steps; the key is folded, not consumed.
  """

  @functools.cache
  def of(number: int, num_steps: int) -> types.Params:
    return surrogate.trained(
      settings(),
      attack_data(config, splits),
      jax.random.fold_in(key, number),
      num_steps,
      row_tools.watch(f"attack/network {number}", num_steps, "steps"),
    )

  return of
