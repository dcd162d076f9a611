"""SIGTERM: finishes the step under way and saves its state; other work ends at once.

Slurm, Kubernetes and clouds send it some seconds before they take a machine away.
"""

import contextlib
import signal
import sys
from collections.abc import Callable, Generator
from typing import NoReturn

from pacd_jax.runtime import ending, processes

STATUS = 143  # A shell's status of a process that SIGTERM ended.


class Preempted(BaseException):
  """Raised once the state is saved, to end the process; `except Exception` passes it."""


_deferring = False
_asked = False


def install() -> None:
  """Handles SIGTERM from now on; call it in the main thread, after `processes.start`."""
  signal.signal(signal.SIGTERM, _handle)


def _handle(number, frame) -> None:
  del number, frame
  global _asked
  if _asked or not _deferring:
    leave("terminated: the same command resumes it")
  _asked = True


def leave(text: str) -> NoReturn:
  """Ends the process at once, with a line that says so."""
  sys.stderr.write(f"\n{text}\n")
  ending.at_once(STATUS)


@contextlib.contextmanager
def deferred() -> Generator[Callable[[], bool]]:
  """Defers a first SIGTERM within; yields a function that tells whether one has come.

  The function returns the same in all processes, whichever got the signal; all must call
  it. If it is true, the caller saves and raises `Preempted`. A second signal ends the
  process.
  """
  global _deferring, _asked
  _deferring = True
  try:
    yield lambda: processes.any_of(_asked)
  finally:
    _deferring = _asked = False
