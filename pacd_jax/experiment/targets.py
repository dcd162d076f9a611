"""What an attack changes and what it targets, by the config: a class or a part of it."""

import numpy as np

from pacd_jax import errors, types
from pacd_jax.attacks import problem
from pacd_jax.data import arrays
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
