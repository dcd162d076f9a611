"""A run's folder: where each file is, whose run it holds, and writing without halves."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import re
from typing import Any

from pacd_jax import __version__, errors

Settings = dict[str, Any]  # The resolved config, as plain nested dictionaries.
_ABSENT = object()


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes beside `path`, then renames; the folder is made."""
  path.parent.mkdir(parents=True, exist_ok=True)
  beside = path.with_name(path.name + ".tmp")
  beside.write_text(text, encoding="utf-8")
  os.replace(beside, path)


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes JSON as `write_text` does."""
  write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: pathlib.Path) -> Any:
  """What `write_json` wrote.

  Raises:
    errors.InputError: it is not there, or no JSON.
  """
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError:
    raise errors.InputError(f"{path} is not there: start the run again") from None
  except ValueError as error:
    raise errors.InputError(f"{path} is no JSON ({error}): delete it") from None


def flatten(settings: Settings, prefix: str = "") -> dict[str, Any]:
  """`{"attack": {"epsilon": 0.1}}` as `{"attack.epsilon": 0.1}`."""
  flat = {}
  for name, value in settings.items():
    if isinstance(value, dict):
      flat |= flatten(value, f"{prefix}{name}.")
    else:
      flat[prefix + name] = value
  return flat


# Fields that change how a run is done, and its results by rounding at most.
FREE = (
  "data.data_dir",
  "attack.save_every",
  "attack.surrogates_at_once",
  "train.save_every",
  "train.victims_at_once",
  "certify.batch_size",
)

# Fields that came when there were runs already, with what these did: a folder whose config
# lacks them is one with these values, and keeps its fingerprint.
LATER = {
  "data.target_points": [],
  "attack.poisoned_fraction": 1.0,
  "attack.selection.corners": False,
  "train.recovery_epochs": 0,
  "train.weight_decay": 0.0,
  "train.augment": "",
}


def field_name(name: str) -> str:
  """A field as one run has it: of a transfer's victim, or of a comparison, without that.

  "victims.macer.sigma" and "base.sigma" are "sigma", and
  "attacks.mine.overrides.attack.damping" is "attack.damping".
  """
  within = r"victims\.[^.]+\.|base\.|attacks\.[^.]+\.overrides\."
  return re.sub(f"^({within})", "", name)


def _bound(settings: Settings) -> dict[str, Any]:
  """What a folder is bound to: all but the free fields, and later ones at their old value.

  A comparison's is bound to its base: the attacks and epsilons are those of the folders
  in it, each bound by itself, and more may come.
  """
  flat = flatten(settings)
  if "base" in settings:
    flat = {name: flat[name] for name in flat if name.startswith(("base.", "data."))}
  for name in flat:  # Where a poison lay; its copy is held against it, see TrainingSets.
    if field_name(name).startswith("poisons."):
      flat[name] = "given" if flat[name] else ""
  return {
    name: value
    for name, value in flat.items()
    if field_name(name) not in FREE and LATER.get(field_name(name), _ABSENT) != value
  }


def completed(settings: Settings) -> Settings:
  """One run's settings with the fields that came later, where it lacks them; a copy."""
  settings = json.loads(json.dumps(settings))
  for name, value in LATER.items():
    *groups, field = name.split(".")
    group = settings
    for key in groups:
      group = group.get(key)
      if not isinstance(group, dict):
        break  # `settings.check` tells what is wrong with it.
    else:
      group.setdefault(field, value)
  return settings


def differences(there: Settings, here: Settings) -> str:
  """The fields in which two configs are not the same run, with both values; "" for none."""
  there, here = _bound(there), _bound(here)

  def words(bound, name):
    return repr(bound.get(name, LATER.get(field_name(name), "absent")))

  return "; ".join(
    f"{name} is {words(there, name)} there and {words(here, name)} here"
    for name in sorted(there.keys() | here.keys())
    if there.get(name, _ABSENT) != here.get(name, _ABSENT)
  )


def default_name(config_name: str, variant: str = "") -> str:
  """Folder of a run by its config and what stands behind the colon, in any order.

  `default_name("mnist_ga", "sigma=0.5,fast")` is "mnist_ga_fast_sigma=0.5".
  """
  items = sorted(filter(None, variant.split(",")), key=lambda item: ("=" in item, item))
  return "_".join([config_name, *(re.sub(r"[^\w.=-]+", "_", item) for item in items)])


class RunFolder:
  """One run's files; inside `with`, the folder is this process's, once claimed for good.

  Args:
    workdir: made on entering if it is not there.
    settings: the resolved config.

  Raises:
    errors.InputError: on entering: the folder cannot be written, holds a run of another
      config, is in use by another process, or cannot be locked.
  """

  def __init__(self, workdir: str | os.PathLike, settings: Settings):
    self.path = pathlib.Path(workdir)
    self.settings = json.loads(json.dumps(settings))  # As config.json gives it back.

  def __enter__(self) -> "RunFolder":
    try:
      self.path.mkdir(parents=True, exist_ok=True)
      lock = open(self.path / ".lock", "w")
    except OSError as error:
      raise self._unwritable(error) from None
    with contextlib.ExitStack() as stack:
      stack.enter_context(lock)
      try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        raise errors.InputError(
          f"--workdir={self.path} is in use by another process: wait, or choose another"
        ) from None
      except OSError as error:
        raise errors.InputError(
          f"--workdir={self.path} cannot be locked ({error.strerror}): mount its file "
          "system with locks (flock), or choose a folder of another"
        ) from None
      self._check_config()
      self._held = stack.pop_all()
    return self

  def __exit__(self, *unused) -> None:
    self._held.close()  # Closing the file frees the lock.

  def _unwritable(self, error: OSError) -> errors.InputError:
    return errors.InputError(
      f"--workdir={self.path} cannot be written ({error.strerror}): choose another"
    )

  def claim(self) -> None:
    """Writes `config.json`: from now on the folder is this config's."""
    path = self.path / "config.json"
    if not path.exists() or "base" in self.settings:  # Which may have other attacks now.
      try:
        write_json(self.path / "config.json", self.settings)
      except OSError as error:
        raise self._unwritable(error) from None

  def _check_config(self) -> None:
    path = self.path / "config.json"
    if not path.exists():
      return
    try:
      there = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError):
      there = None
    if not isinstance(there, dict):
      raise errors.InputError(
        f"{path} is not a run's config: choose another --workdir, or restore that file"
      )
    if _bound(there) != _bound(self.settings):
      raise errors.InputError(
        f"--workdir={self.path} holds a run of another config "
        f"({differences(there, self.settings)}): choose another --workdir"
      )

    if "base" not in there:
      self.settings = there  # Equal, but 1 and 1.0 would have different fingerprints.

  @property
  def fingerprint(self) -> str:
    """Names the run's config, free fields apart, and the package's version."""
    words = json.dumps([__version__, _bound(self.settings)], sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()

  @property
  def metrics(self) -> pathlib.Path:
    return self.path / "metrics.jsonl"

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

  def candidate(self, name: str) -> pathlib.Path:
    """`poison/candidates/<name>.npz`: a poison on the way, that selection looks at."""
    return self.path / "poison" / "candidates" / f"{name}.npz"

  @property
  def selection(self) -> pathlib.Path:
    return self.path / "selection.json"

  def checkpoints(self, stage: str) -> pathlib.Path:
    """`checkpoints/<stage>`."""
    return self.path / "checkpoints" / stage

  def certificate(self, row: str, victim: int) -> pathlib.Path:
    """`certificates/<row>/seed_<k>`, the stem of its files."""
    return self.path / "certificates" / row / f"seed_{victim}"
