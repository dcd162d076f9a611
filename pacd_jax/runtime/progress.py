"""Progress of long work: stage, step, rate, time left."""

import sys
import time
from typing import TextIO

_BAR_WIDTH = 24
_BAR_SECONDS = 0.1  # Least time between two drawings of the bar,
_LINE_SECONDS = 10.0  # and between two lines of a log.


def _duration(seconds: float) -> str:
  minutes, seconds = divmod(int(seconds + 0.5), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def note(text: str, stream: TextIO | None = None) -> None:
  """Writes a line of its own, under a bar or between the lines of a log."""
  stream = sys.stderr if stream is None else stream
  stream.write(("\n" if stream.isatty() else "") + text + "\n")
  stream.flush()


class Progress:
  """A bar on a terminal, lines in a log; the last step is always shown.

  The rate is measured from the first update on, since compilation comes before it.

  Args:
    stage: what is being done.
    total: number of steps.
    start: steps that an earlier run has done; they do not count in the rate.
    unit: what a step is called, in the plural.
    stream: where to write; standard error by default.
    clock: seconds, for tests.
  """

  def __init__(
    self,
    stage: str,
    total: int,
    *,
    start: int = 0,
    unit: str = "steps",
    stream: TextIO | None = None,
    clock=time.monotonic,
  ):
    self._stage, self._total, self._unit = stage, total, unit
    self._stream = sys.stderr if stream is None else stream
    self._is_terminal = self._stream.isatty()
    self._clock, self._began = clock, clock()
    # (steps done, time) at the first update.
    self._first: tuple[int, float] | None = None
    self._shown = self._began if self._is_terminal else -_LINE_SECONDS
    self._width = 0
    if start:
      self._write_line(f"{stage}: going on from {start}/{total} {unit}")

  def update(self, done: int, note: str = "") -> None:
    """Shows that `done` steps of the total are done; `note` stands at the end."""
    now = self._clock()
    if self._first is None:
      self._first = done, now
    wait = _BAR_SECONDS if self._is_terminal else _LINE_SECONDS
    finished = done >= self._total
    if not finished and now - self._shown < wait:
      return
    self._shown = now
    text = self._text(done, now, self._first, note)
    if not self._is_terminal:
      self._write_line(text)
      return
    filled = _BAR_WIDTH * done // max(self._total, 1)
    bar = "#" * filled + "." * (_BAR_WIDTH - filled)
    line = f"[{bar}] {text}"
    self._stream.write("\r" + line.ljust(self._width) + ("\n" if finished else ""))
    self._stream.flush()
    self._width = len(line)

  def _text(self, done: int, now: float, first: tuple[int, float], note: str) -> str:
    parts = [f"{self._stage}: {done}/{self._total} {self._unit}"]
    first_done, first_time = first
    if now > first_time and done > first_done:
      rate = (done - first_done) / (now - first_time)
      parts.append(f"{rate:.3g} {self._unit}/s")
      if done < self._total:
        parts.append(f"{_duration((self._total - done) / rate)} left")
    if done >= self._total:
      parts.append(f"took {_duration(now - self._began)}")
    return "  ".join(parts + ([note] if note else []))

  def _write_line(self, text: str) -> None:
    self._stream.write(text + "\n")
    self._stream.flush()
