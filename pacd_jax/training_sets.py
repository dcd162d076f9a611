"""What victims are trained on: the training split of each row, with its poison as saved."""

import functools
from typing import Any

from pacd_jax import data, errors, poison_file, run_folder, types

CLEAN = "clean"  # The row without a poison.
PACD = "pacd"  # The row whose poison is optimised, step by step.


class TrainingSets:
  """The rows' training splits; each is read, checked and hashed once, on first use.

  Args:
    folder: of the run.
    splits: of its data; the poisons must be of their training split.
    identity: further fields that every poison of this run carries.
  """

  def __init__(
    self, folder: run_folder.RunFolder, splits: types.Splits, identity: dict[str, Any]
  ):
    self._folder, self._splits, self._identity = folder, splits, identity
    self._of_row: dict[str, tuple[types.Dataset, str]] = {}

  @functools.cached_property
  def identity(self) -> dict[str, Any]:
    """The fields that a poison of this run carries, whatever its row."""
    checksum = data.checksum(self._splits.train)
    return self._identity | {"dataset": self._splits.name, "checksum": checksum}

  def is_there(self, row: str) -> bool:
    """Whether the row's poison is saved, or it needs none."""
    return row == CLEAN or self._folder.poison(row).exists()

  def split(self, row: str) -> types.Dataset:
    """The row's training split.

    Raises:
      errors.InputError: its poison is missing, damaged or another run's.
    """
    return self._load(row)[0]

  def checksum(self, row: str) -> str:
    """`data.checksum` of the row's training split; errors as from `split`."""
    return self._load(row)[1]

  def _load(self, row: str) -> tuple[types.Dataset, str]:
    if row not in self._of_row:
      if row == CLEAN:
        self._of_row[row] = self._splits.train, self.identity["checksum"]
      else:
        split = data.apply_poison(self._splits.train, self._poison(row))
        self._of_row[row] = split, data.checksum(split)
    return self._of_row[row]

  def _poison(self, row: str) -> types.Poison:
    path = self._folder.poison(row)
    poison = poison_file.load(path)
    for name, expected in self.identity.items():
      if getattr(poison, name) != expected:
        raise errors.InputError(
          f"{path} was made for another run ({name} is {getattr(poison, name)!r} there and "
          f"{expected!r} here): delete it and rerun --stage=attack"
        )
    return poison
