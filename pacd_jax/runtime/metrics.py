"""`metrics.jsonl`: one line for each logged step of each stage, rewound on resuming."""

import json
import os
import pathlib
from typing import Any

import numpy as np

from pacd_jax import errors
from pacd_jax.runtime import files, sealed, tensorboard


def _plain(value: Any) -> Any:
  """Arrays as JSON numbers, or lists of them."""
  return np.asarray(value).tolist()


def check_finite(stage: str, step: int, values: dict[str, Any]) -> None:
  """Stops the run at the first value that is NaN or infinite.

  Raises:
    errors.NonFiniteError: names the stage, the step and the value.
  """
  for name, value in values.items():
    if not np.all(np.isfinite(value)):
      raise errors.NonFiniteError(
        f"stage {stage}, step {step}: {name} is {_plain(value)}: try a lower learning "
        "rate (in the attack, or a higher damping) in another --workdir"
      )


def read(path: pathlib.Path) -> list[tuple[str, dict[str, Any]]]:
  """The lines of a `metrics.jsonl` and what they say; none where the file is not there.

  Lines that a kill cut short, or that are damaged, are left out: the file is a log.
  """
  try:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
  except FileNotFoundError:
    return []
  except OSError as error:
    raise errors.InputError(f"{path} cannot be read: {error.strerror}") from None
  found = []
  for line in lines:
    try:
      record = sealed.parse(line.encode())
    except ValueError:
      continue
    if isinstance(record, dict) and _is_record(record):
      found.append((line, record))
  return found


def _is_record(record: dict[str, Any]) -> bool:
  is_step = isinstance(record.get("stage"), str) and type(record.get("step")) is int
  return is_step and type(record.get("seconds", 0.0)) in (int, float)


class MetricsFile:
  """Appends JSON lines `{"stage", "step", ...}`; a context manager if it has events.

  Args:
    path: the file.
    events: TensorBoard's files, which get what this one has; None: there are none.
  """

  def __init__(self, path: str | os.PathLike, events: tensorboard.Events | None = None):
    self._path, self._events = pathlib.Path(path), events

  def __enter__(self) -> "MetricsFile":
    return self

  def __exit__(self, *unused) -> None:
    if self._events is not None:
      self._events.close()

  def rewind(self, stage: str, step: int) -> None:
    """Drops the stage's lines from `step` on, and a line that a kill cut short."""
    if self._path.exists():
      self._rewind(stage, step)
    if self._events is not None:
      self._events.begin(stage, self._records(stage))

  def _rewind(self, stage: str, step: int) -> None:
    kept = [
      line + "\n"
      for line, record in read(self._path)
      if record["stage"] != stage or record["step"] < step
    ]
    files.write_text(self._path, "".join(kept))

  def seconds(self, stage: str) -> float:
    """The stage's wall time up to its last line; 0.0 where it has none."""
    by_step = self.seconds_by_step(stage)
    return by_step[max(by_step)] if by_step else 0.0

  def seconds_by_step(self, stage: str) -> dict[int, float]:
    """The stage's wall time up to each of its steps."""
    return {r["step"]: r.get("seconds", 0.0) for r in self._records(stage)}

  def values(self, stage: str, name: str) -> dict[int, Any]:
    """One metric of a stage, by the steps that have it."""
    return {r["step"]: r[name] for r in self._records(stage) if name in r}

  def _records(self, stage: str) -> list[dict[str, Any]]:
    return [record for _, record in read(self._path) if record["stage"] == stage]

  def write(self, stage: str, step: int, values: dict[str, Any]) -> None:
    """Appends one line; arrays become lists."""
    record = {"stage": stage, "step": step}
    record |= {name: _plain(value) for name, value in values.items()}
    line = json.dumps(record) + "\n"
    with files.naming(self._path), open(self._path, "a", encoding="utf-8") as file:
      file.write(line)
    if self._events is not None:
      self._events.write(record)
