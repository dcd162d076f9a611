"""Atomic writing and reading of whole files."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Callable, Generator
from typing import BinaryIO

from pacd_jax import errors


def write(path: str | os.PathLike, write_to: Callable[[BinaryIO], object]) -> None:
  """Writes a file atomically: `write_to(file)` on a file beside `path`, which is renamed.

  The folder is made if needed.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  beside = path.with_name(path.name + ".tmp")
  with open(beside, "wb") as file:
    write_to(file)
    file.flush()
    os.fsync(file.fileno())
  os.replace(beside, path)


@contextlib.contextmanager
def new_folder(path: pathlib.Path) -> Generator[pathlib.Path]:
  """Yields a folder beside `path` to write into; renames it at the end, unless by an error.

  What a killed process has left there is deleted. `path` may be an empty folder.
  """
  beside = path.with_name(path.name + ".tmp")
  if beside.exists():
    shutil.rmtree(beside)
  beside.mkdir(parents=True)
  yield beside
  os.replace(beside, path)


def read_bytes(path: str | os.PathLike) -> bytes:
  """Reads a whole file; raises errors.InputError if it cannot be read."""
  try:
    return pathlib.Path(path).read_bytes()
  except OSError as error:
    raise errors.InputError(f"{path} cannot be read: {error.strerror}") from None
