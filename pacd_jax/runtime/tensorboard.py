"""TensorBoard's event files of a run, derived from its `metrics.jsonl`.

A stage's events are in `<folder>/<stage>/`. Each time that the stage begins, or is resumed,
its file is written anew from the stage's lines, so that no step is there twice and none is
missing. The file begins with a mark on which a TensorBoard that is open forgets the steps
it has seen. Lists, such as a value of each seed, are curves `<name>/<k>`.
"""

import datetime
import importlib.util
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pacd_jax import errors
from pacd_jax.runtime import files


def check_installed() -> None:
  """Raises `errors.InputError` where tensorboardX is not installed."""
  if importlib.util.find_spec("tensorboardX") is None:
    raise errors.InputError(
      "config field tensorboard is True, but tensorboardX is not installed: pip install "
      "tensorboardX, or set it to False"
    )


class Events:
  """The event files of a run, one stage at a time; `close` ends the last.

  Args:
    folder: of all stages; made if needed.
  """

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    self._writer: Any = None
    self._began = 0.0  # When the stage began; a resumed one is dated as if it had no pause.

  def begin(self, stage: str, records: Iterable[Mapping[str, Any]]) -> None:
    """Replaces the stage's file by one of these lines of metrics.jsonl."""
    from tensorboardX import event_file_writer  # Of the extra [tensorboard].
    from tensorboardX.proto import event_pb2

    self.close()
    folder, records = self._folder / stage, list(records)
    seconds = records[-1].get("seconds", 0.0) if records else 0.0
    self._began = datetime.datetime.now().timestamp() - seconds
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    with files.naming(self._folder):
      folder.mkdir(parents=True, exist_ok=True)
      for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
      self._writer = event_file_writer.EventsWriter(str(folder / "events"))
      self._writer.write_event(
        event_pb2.Event(wall_time=self._began, step=0, session_log=start)
      )
      for record in records:
        self._append(record)
      self._writer.flush()

  def write(self, record: Mapping[str, Any]) -> None:
    """Appends a line of the stage that has begun."""
    with files.naming(self._folder):
      self._append(record)
      self._writer.flush()

  def close(self) -> None:
    if self._writer is not None:
      with files.naming(self._folder):
        writer, self._writer = self._writer, None
        writer.close()

  def _append(self, record: Mapping[str, Any]) -> None:
    from tensorboardX.proto import event_pb2, summary_pb2

    values = [
      summary_pb2.Summary.Value(tag=tag, simple_value=float(value))
      for name, of_name in record.items()
      if name not in ("stage", "step")
      for tag, value in _curves(name, of_name)
    ]
    event = event_pb2.Event(
      wall_time=self._began + record.get("seconds", 0.0),
      step=record["step"],
      summary=summary_pb2.Summary(value=values),
    )
    self._writer.write_event(event)


def _curves(name: str, value: Any) -> list[tuple[str, Any]]:
  """A number as one curve, a list as one for each of its numbers."""
  if np.ndim(value) == 0:
    return [(name, value)]
  return [(f"{name}/{k}", each) for k, each in enumerate(np.ravel(value))]
