"""Ending a process at once, and temporary folders that are deleted even then.

Unwinding while other threads run may crash, so an interrupt, SIGTERM, and an error in one
of several processes end by `os._exit`, which cleans up nothing.
"""

import contextlib
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Generator
from typing import NoReturn

_folders: set[str] = set()


@contextlib.contextmanager
def temporary_folder() -> Generator[pathlib.Path]:
  """A temporary folder, deleted at the end and by `at_once`; only SIGKILL leaves it."""
  with tempfile.TemporaryDirectory(prefix="pacd_jax.") as folder:
    _folders.add(folder)
    try:
      yield pathlib.Path(folder)
    finally:
      _folders.discard(folder)


def at_once(status: int) -> NoReturn:
  """Ends the process with this status."""
  try:
    sys.stderr.flush()
    for folder in tuple(_folders):
      shutil.rmtree(folder, ignore_errors=True)  # Other threads may be writing there.
    sys.stdout.flush()
  finally:  # A signal may have come in the middle of a write.
    os._exit(status)
