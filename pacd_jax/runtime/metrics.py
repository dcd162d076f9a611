"""`metrics.jsonl`: one line for each logged step of each stage, rewound on resuming."""

import json
import os
import pathlib
from typing import Any

import numpy as np

from pacd_jax import errors
from pacd_jax.runtime import files


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


class MetricsFile:
  """Appends JSON lines `{"stage", "step", ...}`."""

  def __init__(self, path: str | os.PathLike):
    self._path = pathlib.Path(path)

  def rewind(self, stage: str, step: int) -> None:
    """Drops the stage's lines from `step` on, and a line that a kill cut short."""
    if not self._path.exists():
      return
    kept = []
    for line in self._path.read_text(errors="replace").splitlines():
      try:
        record = json.loads(line)
        keep = record["stage"] != stage or record["step"] < step
      except (json.JSONDecodeError, KeyError, TypeError):
        keep = False
      if keep:
        kept.append(line + "\n")
    files.write_text(self._path, "".join(kept))

  def seconds(self, stage: str) -> float:
    """The stage's wall time up to its last line; 0.0 where it has none."""
    by_step = self.seconds_by_step(stage)
    return by_step[max(by_step)] if by_step else 0.0

  def seconds_by_step(self, stage: str) -> dict[int, float]:
    """The stage's wall time up to each of its steps."""
    if not self._path.exists():
      return {}
    records = map(json.loads, self._path.read_text(errors="replace").splitlines())
    return {r["step"]: r.get("seconds", 0.0) for r in records if r["stage"] == stage}

  def write(self, stage: str, step: int, values: dict[str, Any]) -> None:
    """Appends one line; arrays become lists."""
    record = {"stage": stage, "step": step}
    record |= {name: _plain(value) for name, value in values.items()}
    line = json.dumps(record) + "\n"
    with files.naming(self._path), open(self._path, "a", encoding="utf-8") as file:
      file.write(line)
