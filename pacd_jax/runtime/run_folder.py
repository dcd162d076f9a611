"""A run's folder: where each file is, which run it holds, and atomic writes."""

import contextlib
import fcntl
import json
import os
import pathlib
import platform
from collections.abc import Mapping
from typing import Any, Protocol

from pacd_jax import errors, types
from pacd_jax.runtime import files, sealed, stamp


def json_text(value: Mapping[str, Any]) -> str:
  """The text of a sealed JSON file."""
  return json.dumps(sealed.seal(value), indent=2, allow_nan=False) + "\n"


def write_json(path: pathlib.Path, value: Mapping[str, Any]) -> None:
  """Writes JSON as `files.write_text` does, sealed (`sealed.py`)."""
  files.write_text(path, json_text(value))


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """Reads what `write_json` wrote, without the seal.

  Raises:
    errors.InputError: the file does not exist, is no JSON object, or has changed since.
  """
  try:
    value = sealed.parse(path.read_bytes())
  except FileNotFoundError:
    raise errors.InputError(f"{path} is not there: start the run again") from None
  except OSError as error:
    raise errors.InputError(f"{path} cannot be read: {error.strerror}") from None
  except ValueError as error:
    raise errors.InputError(f"{path} is no JSON of a run ({error}): delete it") from None
  if not isinstance(value, dict):
    raise errors.InputError(f"{path} is no JSON of a run (no object): delete it")
  return value


class Identity(Protocol):
  """The identity of the run in a folder; `experiment.identity` has that of a config."""

  grows: bool  # Parts may be added later: config.json is rewritten each time.

  @property
  def text(self) -> str:
    """The text of config.json."""
    ...

  @property
  def fingerprint(self) -> str:
    """Identifies all that the run's files are bound to."""
    ...

  def differences(self, there: Mapping[str, Any]) -> str:
    """How the run of another config.json differs, in words; "" if it is the same run."""
    ...


class RunFolder:
  """One run's files; `with` locks the folder, and `claim` binds it to the run for good.

  Args:
    workdir: created on entering if missing.
    identity: the run's identity.

  Raises:
    errors.InputError: on entering: the folder cannot be written, holds a run of another
      config, is in use by another process, or cannot be locked.
  """

  def __init__(self, workdir: str | os.PathLike, identity: Identity):
    self.path = pathlib.Path(workdir)
    self._identity = identity

  def __enter__(self) -> "RunFolder":
    try:
      self.path.mkdir(parents=True, exist_ok=True)
      lock = open(self.path / ".lock", "a+b")
    except OSError as error:
      raise self._unwritable(error) from None
    with contextlib.ExitStack() as stack:
      stack.enter_context(lock)
      try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        holder = os.pread(lock.fileno(), 200, 0).decode(errors="replace")
        by = f"another process, {holder}" if holder else "another process"
        raise errors.InputError(
          f"--workdir={self.path} is in use by {by}: wait, or choose another"
        ) from None
      except OSError as error:
        raise errors.InputError(
          f"--workdir={self.path} cannot be locked ({error.strerror}): mount its file "
          "system with locks (flock), or choose a folder of another"
        ) from None
      os.ftruncate(lock.fileno(), 0)
      with contextlib.suppress(OSError):  # A full disk: the holder's name is not known.
        os.write(lock.fileno(), f"{os.getpid()} on {platform.node()}".encode())
      self._check_config()
      self._held = stack.pop_all()
    return self

  def __exit__(self, *unused) -> None:
    self._held.close()  # Closing the file frees the lock.

  def _unwritable(self, error: OSError) -> errors.InputError:
    return errors.InputError(
      f"--workdir={self.path} cannot be written ({error.strerror}): choose another"
    )

  def check_made_by(self, *, allow_other_versions: bool = False) -> None:
    """Checks that this code, these versions and this device made what the folder holds.

    Raises:
      errors.InputError: others did, or no stamp says which, and that is not allowed.
    """
    if allow_other_versions or not (self.path / "config.json").exists():
      return
    stamps = self.stamps()
    go_on = f"resume it with those, or anyway by {stamp.ALLOW_FLAG}"
    if not stamps:
      raise errors.InputError(
        f"--workdir={self.path} does not say what made it (it has no {self._stamps.name}): "
        f"choose another, or resume it anyway by {stamp.ALLOW_FLAG}"
      )
    if differences := stamp.differences(stamps[-1], stamp.make()):
      raise errors.InputError(
        f"--workdir={self.path} was made by other code or versions ({differences}): {go_on}"
      )

  def claim(self, *, works: bool = True) -> None:
    """Writes `config.json`, which binds the folder to this config, and `stamp.json`.

    Args:
      works: whether files of the run are going to be made, so that the stamp of this
        process belongs to it.
    """
    path = self.path / "config.json"
    try:
      if works or not path.exists():
        stamps, here = self.stamps(), stamp.make()
        if not stamps or stamp.differences(stamps[-1], here):
          text = json.dumps([*stamps, here], indent=2, allow_nan=False)
          files.write_text(self._stamps, text + "\n")
      if not path.exists() or self._identity.grows:
        files.write_text(path, self._identity.text)
    except OSError as error:
      raise self._unwritable(error) from None

  def stamps(self) -> list[stamp.Stamp]:
    """The stamps of all that made the run, oldest first; empty for one from before."""
    return stamp.read(self._stamps)

  def _check_config(self) -> None:
    path = self.path / "config.json"
    if not path.exists():
      return
    try:
      there = read_json(path)
    except errors.InputError as error:
      raise errors.InputError(
        f"{path} is not a run's config: choose another --workdir, or restore that file "
        f"({error})"
      ) from None
    if differences := self._identity.differences(there):
      raise errors.InputError(
        f"--workdir={self.path} holds a run of another config ({differences}): choose "
        "another --workdir"
      )

  @property
  def fingerprint(self) -> str:
    """Identifies the run's config, and the package's version."""
    return self._identity.fingerprint

  @property
  def _stamps(self) -> pathlib.Path:
    return self.path / "stamp.json"

  @property
  def metrics(self) -> pathlib.Path:
    return self.path / "metrics.jsonl"

  @property
  def tensorboard(self) -> pathlib.Path:
    return self.path / "tensorboard"

  @property
  def results(self) -> pathlib.Path:
    return self.path / "results.json"

  @property
  def report(self) -> pathlib.Path:
    return self.path / "report" / "index.html"

  def poison(self, row: str) -> pathlib.Path:
    """`poison/<row>.npz`."""
    return self.path / "poison" / f"{row}.npz"

  def attack_time(self, row: str) -> pathlib.Path:
    """`poison/<row>.json`: how long the row's poison took to make."""
    return self.path / "poison" / f"{row}.json"

  def defended(self, row: str) -> pathlib.Path:
    """`defense/<row>.npz`: what defences made of the row's training set."""
    return self.path / "defense" / f"{row}.npz"

  def defence_report(self, row: str) -> pathlib.Path:
    """`defense/<row>.json`: what each defence removed, relabelled and changed."""
    return self.path / "defense" / f"{row}.json"

  def candidate(self, name: str) -> pathlib.Path:
    """`poison/candidates/<name>.npz`: a candidate of the selection."""
    return self.path / "poison" / "candidates" / f"{name}.npz"

  @property
  def selection(self) -> pathlib.Path:
    return self.path / "selection.json"

  @property
  def weight_decay(self) -> pathlib.Path:
    return self.path / "weight_decay.json"

  def checkpoints(self, stage: str) -> pathlib.Path:
    """`checkpoints/<stage>`."""
    return self.path / "checkpoints" / stage

  def certificate(self, row: str, victim: int, poisoned: int = 0) -> pathlib.Path:
    """`certificates/<row>/seed_<k>`, the stem of its files.

    With a number of poisoned images that they hold for, too:
    `certificates/<row>/poisoned_<m>/seed_<k>`.
    """
    folder = self.path / "certificates" / row
    return folder / (f"poisoned_{poisoned}" if poisoned else "") / f"seed_{victim}"

  def goal(self, row: str, victim: int, *, triggered: bool) -> pathlib.Path:
    """`certificates/<row>/goal/seed_<k>`, the stem of the files of the attacker's points.

    Of the same points without the goal's trigger: `certificates/<row>/goal_untriggered`.
    """
    folder = "goal" if triggered else "goal_untriggered"
    return self.path / "certificates" / row / folder / f"seed_{victim}"

  def control(self, row: str, victim: int) -> pathlib.Path:
    """`certificates/clean/control/<row>/seed_<k>`: of a row's goal, of clean victims."""
    return self.path / "certificates" / types.CLEAN / "control" / row / f"seed_{victim}"

  def goal_images(self, row: str) -> pathlib.Path:
    """`report/goal_<row>.npz`: test images before and after the goal's trigger."""
    return self.path / "report" / f"goal_{row}.npz"

  def against_poison(self, row: str, victim: int) -> pathlib.Path:
    """`certificates/<row>/against_poison/seed_<k>`, the stem of an ensemble's files."""
    return self.path / "certificates" / row / "against_poison" / f"seed_{victim}"
