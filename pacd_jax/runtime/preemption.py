"""SIGTERM: a step under way is finished and its state saved; all else ends at once.

Slurm, Kubernetes and clouds send it some seconds before they take a machine away.
"""

import contextlib
import signal
import sys
from collections.abc import Callable, Generator
from typing import NoReturn

from pacd_jax.runtime import ending, processes

STATUS = 143  # Of a process that SIGTERM ended, as a shell has it.


class Preempted(BaseException):
  """The state is saved, and the process is to end; no error, so nothing catches it."""


_deferring = False
_asked = False


def install() -> None:
  """Handles SIGTERM from now on; in the main thread, after `processes.start`."""
  signal.signal(signal.SIGTERM, _handle)


def _handle(number, frame) -> None:
  del number, frame
  global _asked
  if _asked or not _deferring:
    leave("terminated: the same command resumes it")
  _asked = True


def leave(text: str) -> NoReturn:
  """Ends at once, with a line that says so."""
  sys.stderr.write(f"\n{text}\n")
  ending.at_once(STATUS)


@contextlib.contextmanager
def deferred() -> Generator[Callable[[], bool]]:
  """Inside, a first SIGTERM waits: gives a function that tells whether one has come.

  It tells all processes the same, whichever got the signal; all have to call it. Whoever
  hears of it saves, and raises `Preempted`. A second signal ends the process.
  """
  global _deferring, _asked
  _deferring = True
  try:
    yield lambda: processes.any_of(_asked)
  finally:
    _deferring = _asked = False
