"""The training split of each row, with its poison as saved.

Among a run's modules, only this one writes and reads poisons.
"""

import functools
import math
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from pacd_jax import errors, perturbation, types
from pacd_jax.data import arrays, poison_file, training_sets
from pacd_jax.experiment import bound_file
from pacd_jax.experiment.row_tools import Poisoned
from pacd_jax.runtime import files, run_folder


class TrainingSets:
  """The rows' training splits; each is read, checked and hashed once, on first use.

  Args:
    folder: the run's folder.
    splits: the run's data; the poisons must be of their training split.
    poisoned: int64 `[n]`: the training images that an attack changes unless it names
      others.
    identity: further fields that every poison made by this run carries; a poison from
      elsewhere must have the same target class.
    given: rows whose poison is from elsewhere -> its file, or the folder of its run; the
      file is copied into this run's folder.
    unbounded: rows that the run's budget does not bound: theirs is all of [0, 1].
  """

  def __init__(
    self,
    folder: run_folder.RunFolder,
    splits: types.Splits,
    poisoned: np.ndarray,
    identity: dict[str, Any],
    given: Mapping[str, str] | None = None,
    unbounded: Collection[str] = (),
  ):
    self._folder, self._splits, self._identity = folder, splits, identity
    self._poisoned, self._unbounded = poisoned, unbounded
    # Rows whose poison is from elsewhere -> its file, which may not exist.
    self.given = {row: poison_file.find(path) for row, path in (given or {}).items()}
    self._of_row: dict[str, tuple[types.TrainingSet, str]] = {}
    self._goals: dict[str, types.Goal | None] = {types.CLEAN: None}

  @functools.cached_property
  def identity(self) -> dict[str, Any]:
    """The fields that a poison within the run's budget carries, whatever its row."""
    checksum = arrays.checksum(self._splits.train)
    return self._identity | {"dataset": self._splits.name, "checksum": checksum}

  def identity_of(self, row: str) -> dict[str, Any]:
    """The fields that the poison of a row carries."""
    return self.identity | (_WHOLE_BOX if row in self._unbounded else {})

  def is_there(self, row: str) -> bool:
    """Whether the row's poison is saved, or the row needs none."""
    return row == types.CLEAN or self._folder.poison(row).exists()

  def attacked(self, row: str) -> np.ndarray:
    """Rising positions that the row's poison changes; of clean data, those it would."""
    if row == types.CLEAN:
      return np.sort(self._poisoned)
    clean, poisoned = self.split(types.CLEAN), self.split(row)
    found = training_sets.difference(clean, poisoned)
    new = np.arange(len(clean.labels), len(poisoned.labels))
    return np.concatenate([np.union1d(found.changed, found.relabelled), new])

  def check_given(self, row: str) -> None:
    """Checks that the file from elsewhere is usable, and is the one copied before.

    Raises:
      errors.InputError: it is missing, damaged, of another data set, split or class, or
        differs from the copy.
    """
    path, copy = self.given[row], self._folder.poison(row)
    if copy.exists():
      check_unchanged(path, copy, "choose another --workdir")
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
    """Whether the row's poison is a file from elsewhere."""
    return row in self.given

  def copy_given(self, row: str) -> None:
    """Copies the file from elsewhere, unchanged, to `poison/<row>.npz`."""
    self._write(self._folder.poison(row), files.read_bytes(self.given[row]))

  def save(self, row: str, made: np.ndarray | Poisoned, seconds: float) -> None:
    """Writes the time that an attack took, then the poison that it made.

    Args:
      row: the row's name.
      made: the poison, as `made` takes it.
      seconds: wall time of making it.

    Raises:
      errors.InputError: the attack returned no images, or images of another type, shape
        or range.
    """
    _check_made(row, made, len(self._poisoned), self._splits.train.images.shape[1:])
    path = self._folder.poison(row)
    contents = poison_file.contents(path, self.made(made, row))
    self._write(path, contents, {"attack_seconds": seconds})

  def made(self, made: np.ndarray | Poisoned, row: str = types.PACD) -> types.Poison:
    """Rounds what an attack made to 8 bits, within the row's budget.

    Args:
      made: float images `[n, H, W, C]` for the images that the run poisons, or a
        `Poisoned`.
      row: the row that it is of.

    Raises:
      ValueError: an image without a base image has no label.
    """
    if not isinstance(made, Poisoned):
      made = Poisoned(np.asarray(made))
    train, identity = self._splits.train, self.identity_of(row)
    indices = self._poisoned if made.indices is None else np.asarray(made.indices, np.int64)
    base_images, base_labels = train.images[indices], train.labels[indices]
    labels = base_labels if made.labels is None else np.asarray(made.labels, np.int32)
    if (alone := indices < 0).any():  # Without a base: each is its own.
      if made.labels is None:
        raise ValueError("images of no base (index -1) have no labels: give labels")
      own = np.rint(np.clip(np.asarray(made.images)[alone], 0.0, 1.0) * 255.0)
      base_images[alone], base_labels[alone] = own.astype(np.uint8), labels[alone]
    none = np.zeros(len(indices), bool)
    inserted = none if made.inserted is None else made.inserted
    triggered = none if made.triggered is None else made.triggered
    return types.Poison(
      images=perturbation.quantize(
        made.images, base_images, epsilon=identity["epsilon"], norm=identity["norm"]
      ),
      base_images=base_images,
      labels=labels,
      base_labels=base_labels,
      indices=indices,
      inserted=np.asarray(inserted, bool),
      clean_label=np.array_equal(labels, base_labels),
      triggered=np.asarray(triggered, bool),
      goal=made.goal,
      **identity,
    )

  def save_candidate(self, name: str, images: np.ndarray) -> None:
    """Writes a candidate of the attack, float `[n, H, W, C]`."""
    path = self._folder.candidate(name)
    self._write(path, poison_file.contents(path, self.made(images)))

  def candidate(self, name: str) -> tuple[types.TrainingSet, np.ndarray]:
    """The training split with a candidate in it, and its images, uint8 `[n, H, W, C]`.

    Raises:
      errors.InputError: it is missing, damaged or of another training split.
    """
    path = self._folder.candidate(name)
    poison = poison_file.load(path, remedy=_CANDIDATE_REMEDY)
    bound_file.check(path, self._folder.fingerprint, _CANDIDATE_REMEDY)
    return training_sets.poisoned(self._splits.train, poison), poison.images

  def split(self, row: str) -> types.TrainingSet:
    """The training split with the row's poison in it, before any defence.

    Raises:
      errors.InputError: its poison is missing, damaged or of another run.
    """
    return self._load(row)[0]

  def checksum(self, row: str) -> str:
    """`training_sets.checksum` of `split(row)`; raises as `split` does."""
    return self._load(row)[1]

  def budget(self, row: str) -> tuple[float | None, str | None]:
    """Epsilon and norm of a row's poison, from its file; None for clean data."""
    if row == types.CLEAN:
      return None, None
    poison = self.poison(row)
    return poison.epsilon, poison.norm

  def goal(self, row: str) -> types.Goal | None:
    """What the row's attacker wants of test images; raises as `split` does."""
    if row not in self._goals:
      from_elsewhere = self.is_given(row) and not self.is_there(row)
      poison = poison_file.load(self.given[row]) if from_elsewhere else self.poison(row)
      self._goals[row] = poison.goal
    return self._goals[row]

  def facts(self, row: str) -> str:
    """Says what of a row's poison is inserted, relabelled or triggered; "": nothing."""
    if row == types.CLEAN:
      return ""
    poison, found = self.poison(row), []
    if num := int(poison.inserted.sum()):
      found.append(f"{num} images inserted")
    if num := int((poison.labels != poison.base_labels).sum()):
      found.append(f"{num} under another label")
    if num := int(poison.triggered.sum()):
      found.append(f"{num} with the trigger")
    return f"Of {len(poison.images)} images {', '.join(found)}." if found else ""

  def assumed_sigma(self, row: str) -> float:
    """The sigma that the row's poison was made for; 0 if it was made for none."""
    return 0.0 if row == types.CLEAN else self.poison(row).sigma

  def attack_seconds(self, row: str) -> float | None:
    """Wall time of making the row's poison; None for one that this run did not make.

    Raises:
      errors.InputError: the file with the time is damaged.
    """
    path = self._folder.attack_time(row)
    if row == types.CLEAN or row in self.given or not path.exists():
      return None
    about = run_folder.read_json(path)
    try:
      seconds = float(about["attack_seconds"])
    except (ValueError, TypeError, KeyError):
      seconds = math.nan
    if not 0.0 <= seconds < math.inf:
      raise errors.InputError(
        f"{path} does not say how long the attack took: delete it, and the time is unknown"
      )
    return seconds

  def _load(self, row: str) -> tuple[types.TrainingSet, str]:
    if row not in self._of_row:
      if row == types.CLEAN:
        clean = training_sets.whole(self._splits.train)
        self._of_row[row] = clean, self.identity["checksum"]
      else:
        poisoned = training_sets.poisoned(self._splits.train, self.poison(row))
        self._of_row[row] = poisoned, training_sets.checksum(poisoned)
    return self._of_row[row]

  def poison(self, row: str) -> types.Poison:
    """The row's poison as saved; raises as `split` does."""
    path = self._folder.poison(row)
    poison = poison_file.load(path)
    self._check(path, poison, row)
    bound_file.check(path, self._folder.fingerprint, _REMEDY)
    return poison

  def _write(
    self, path: pathlib.Path, contents: bytes, about: Mapping[str, Any] | None = None
  ) -> None:
    bound_file.write(path, contents, self._folder.fingerprint, about)

  def _check(self, path: pathlib.Path, poison: types.Poison, row: str) -> None:
    """Raises if a poison is of other data or class, or is another run's but not given."""
    identity, remedy = self.identity_of(row), _REMEDY
    if row in self.given:
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


def _check_made(row: str, made: Any, num_poisoned: int, shape: tuple[int, ...]) -> None:
  """Refuses what is no poison, from an attack of anybody's; the budget is not looked at."""
  images = made.images if isinstance(made, Poisoned) else made
  count = num_poisoned
  if isinstance(made, Poisoned) and made.indices is not None:
    count = len(made.indices)
  wanted = f"float images [{count}, {', '.join(map(str, shape))}] in [0, 1]"
  try:
    values = np.asarray(images)
  except ValueError:
    values = np.asarray(None)
  if values.dtype.kind != "f" or values.shape != (count, *shape):
    raise errors.InputError(
      f"row {row} returned {values.dtype} of shape {values.shape}: it must return {wanted}"
    )
  if not np.isfinite(values).all():
    raise errors.InputError(f"row {row} returned images that are not finite")
  if values.max() > 16.0:  # The budget cuts off what is a little beyond.
    raise errors.InputError(
      f"row {row} returned images up to {values.max():g}: it must return {wanted}"
    )


def check_unchanged(given: str | pathlib.Path, copy: pathlib.Path, remedy: str) -> None:
  """Checks that the file that a poison was copied from has not changed since.

  Args:
    given: the file, or the folder of its run; a file that is gone counts as unchanged.
    copy: the copy of the file.
    remedy: what an error advises.

  Raises:
    errors.InputError: the file has changed.
  """
  path = poison_file.find(given)
  if path.exists() and files.read_bytes(path) != files.read_bytes(copy):
    raise errors.InputError(f"{path} has changed since {copy} was copied from it: {remedy}")


def _short(value: Any) -> str:
  """The repr of a value; a checksum is cut to eight digits."""
  long = isinstance(value, str) and len(value) == 64
  return repr(value[:8] + "..." if long else value)


_WHOLE_BOX = {"epsilon": 1.0, "norm": "linf"}  # A budget that bounds nothing.
# The names of these fields of a poison in messages.
_WHAT = {
  "dataset": "data set",
  "target_class": "target class",
  "checksum": "training split",
}
_REMEDY = "delete it and rerun --stage=attack"
_CANDIDATE_REMEDY = (
  "delete checkpoints/attack and selection.json of the run, and run it again"
)
_GIVEN_REMEDY = "give the file of a poison, or the folder of a run that made one"
