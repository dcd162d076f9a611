"""What victims are trained on: the training split of each row, with its poison as saved."""

import functools
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from pacd_jax import errors, types
from pacd_jax.data import arrays, files, poison_file, training_sets
from pacd_jax.runtime import run_folder

CLEAN = "clean"  # The row without a poison.
PACD = "pacd"  # The row whose poison is optimised, step by step.


class TrainingSets:
  """The rows' training splits; each is read, checked and hashed once, on first use.

  Args:
    folder: of the run.
    splits: of its data; the poisons must be of their training split.
    identity: further fields that every poison made by this run carries; one from
      elsewhere has to share its target class.
    given: rows whose poison is a file from elsewhere, which the run's folder gets a
      copy of.
  """

  def __init__(
    self,
    folder: run_folder.RunFolder,
    splits: types.Splits,
    identity: dict[str, Any],
    given: Mapping[str, pathlib.Path] | None = None,
  ):
    self._folder, self._splits, self._identity = folder, splits, identity
    self._given = given or {}
    self._of_row: dict[str, tuple[types.TrainingSet, str]] = {}

  @functools.cached_property
  def identity(self) -> dict[str, Any]:
    """The fields that a poison of this run carries, whatever its row."""
    checksum = arrays.checksum(self._splits.train)
    return self._identity | {"dataset": self._splits.name, "checksum": checksum}

  def is_there(self, row: str) -> bool:
    """Whether the row's poison is saved, or it needs none."""
    return row == CLEAN or self._folder.poison(row).exists()

  def check_given(self, row: str) -> None:
    """Whether the file from elsewhere can be trained on, and is the one copied before.

    Raises:
      errors.InputError: it is missing, damaged, of another data set, split or class, or
        differs from the copy.
    """
    path, copy = self._given[row], self._folder.poison(row)
    if copy.exists():
      read = files.read_bytes
      if path.exists() and read(path) != read(copy):
        raise errors.InputError(
          f"{path} has changed since {copy} was copied from it: choose another --workdir"
        )
      return
    folder = path.parent.parent
    if not path.exists() and path == poison_file.find(folder):
      raise errors.InputError(
        f"poisons.{row}: {folder} has no poison/{path.name}: {_GIVEN_REMEDY}"
      )
    poison = poison_file.load(path, remedy=_GIVEN_REMEDY)
    self._check(path, poison, row)
    try:
      training_sets.poisoned(self._splits.train, poison)
    except errors.InputError as error:
      raise errors.InputError(f"{path}: {error}") from None

  def is_given(self, row: str) -> bool:
    """Whether its poison is a file from elsewhere."""
    return row in self._given

  def copy_given(self, row: str) -> None:
    """Copies the file from elsewhere, as it is, to `poison/<row>.npz`."""
    poison_file.copy(self._given[row], self._folder.poison(row))

  def split(self, row: str) -> types.TrainingSet:
    """What the row's victims are trained on.

    Raises:
      errors.InputError: its poison is missing, damaged or another run's.
    """
    return self._load(row)[0]

  def checksum(self, row: str) -> str:
    """`training_sets.checksum` of that; errors as from `split`."""
    return self._load(row)[1]

  def budget(self, row: str) -> tuple[float | None, str | None]:
    """Epsilon and norm of a row's poison, as its file says; None of clean data."""
    if row == CLEAN:
      return None, None
    poison = self.poison(row)
    return poison.epsilon, poison.norm

  def attack_seconds(self, row: str) -> float | None:
    """Wall time of making the row's poison; None for one that this run did not make.

    Raises:
      errors.InputError: the file that says it is damaged.
    """
    path = self._folder.attack_time(row)
    if row == CLEAN or row in self._given or not path.exists():
      return None
    try:
      seconds = float(json.loads(path.read_text())["attack_seconds"])
    except (ValueError, TypeError, KeyError, OSError):
      seconds = math.nan
    if not 0.0 <= seconds < math.inf:
      raise errors.InputError(
        f"{path} does not say how long the attack took: delete it, and the time is unknown"
      )
    return seconds

  def save_attack_seconds(self, row: str, seconds: float) -> None:
    """Keeps it beside the poison: before that is saved, so that no poison lacks it."""
    run_folder.write_json(self._folder.attack_time(row), {"attack_seconds": seconds})

  def _load(self, row: str) -> tuple[types.TrainingSet, str]:
    if row not in self._of_row:
      if row == CLEAN:
        clean = training_sets.whole(self._splits.train)
        self._of_row[row] = clean, self.identity["checksum"]
      else:
        poisoned = training_sets.poisoned(self._splits.train, self.poison(row))
        self._of_row[row] = poisoned, training_sets.checksum(poisoned)
    return self._of_row[row]

  def poison(self, row: str) -> types.Poison:
    """The row's poison as saved; errors as from `split`."""
    path = self._folder.poison(row)
    poison = poison_file.load(path)
    self._check(path, poison, row)
    return poison

  def _check(self, path: pathlib.Path, poison: types.Poison, row: str) -> None:
    """Refuses a poison of other data or another class, or another run's own."""
    identity, remedy = self.identity, "delete it and rerun --stage=attack"
    if row in self._given:
      identity = {name: identity[name] for name in ("dataset", "target_class", "checksum")}
      remedy = (
        f"set poisons.{row} to one of this data set and class, and run with the seed and "
        "data.num_train that it was made with"
      )
    for name, expected in identity.items():
      there = getattr(poison, name)
      if there != expected:
        what = _WHAT.get(name, "run")
        raise errors.InputError(
          f"{path} was made for another {what} ({name} is {_short(there)} there and "
          f"{_short(expected)} here): {remedy}"
        )


def _short(value: Any) -> str:
  """As it is, but eight digits of a checksum."""
  long = isinstance(value, str) and len(value) == 64
  return repr(value[:8] + "..." if long else value)


# What a poison of another one of these was made for.
_WHAT = {
  "dataset": "data set",
  "target_class": "target class",
  "checksum": "training split",
}
_GIVEN_REMEDY = "give the file of a poison, or the folder of a run that made one"
