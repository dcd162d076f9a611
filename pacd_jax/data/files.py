"""Atomic writing and reading of whole files, and of arrays in .npz files."""

import os
import pathlib
import zipfile
from collections.abc import Callable, Iterable
from typing import BinaryIO

import numpy as np

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


def user_path(path: str | os.PathLike) -> pathlib.Path:
  """A path that a user gave, with `~` as the home folder; nothing need be there.

  Raises:
    errors.InputError: no file can have this path, or it cannot be looked at.
  """
  found = pathlib.Path(path)
  try:
    found = found.expanduser()
    os.stat(found)
  except (FileNotFoundError, NotADirectoryError):
    pass
  except OSError as error:
    raise errors.InputError(f"{path} cannot be read: {error.strerror}") from None
  except (RuntimeError, ValueError) as error:  # No such user, or a null character.
    raise errors.InputError(f"{str(path)!r} is no path ({error})") from None
  return found


def read_bytes(path: str | os.PathLike) -> bytes:
  """Reads a whole file; raises errors.InputError if it cannot be read."""
  try:
    return pathlib.Path(path).read_bytes()
  except OSError as error:
    raise errors.InputError(f"{path} cannot be read: {error.strerror}") from None


class DamagedError(Exception):
  """An .npz file that cannot be read, or an array in it: the text says why."""


def read_npz(path: str | os.PathLike, names: Iterable[str]) -> dict[str, np.ndarray]:
  """Reads those of the named arrays that an .npz file has, without pickle.

  Each is read to the end of its member of the file, where its checksum is compared:
  NumPy itself stops at what the array's shape says, and so does not see a changed one.

  Raises:
    OSError: there is no such file, or it cannot be opened.
    DamagedError: it is no .npz file, or an array is damaged, holds Python objects, or does
      not fit in memory.
  """
  found = {}
  with open(path, "rb") as file:
    try:
      with zipfile.ZipFile(file) as archive:
        members = archive.namelist()
        if len(set(members)) < len(members):
          raise DamagedError("an array is there twice")
        for name in names:
          if f"{name}.npy" in members:
            found[name] = _array(archive, name)
    except DamagedError:
      raise
    except MemoryError:
      raise DamagedError("its arrays do not fit in this machine's memory") from None
    except Exception as error:  # Damaged zip files raise many kinds of errors.
      raise DamagedError(type(error).__name__) from None
  return found


def names_in_npz(path: str | os.PathLike) -> list[str]:
  """The names of the arrays in an .npz file that `read_npz` can read."""
  with zipfile.ZipFile(path) as archive:
    members = archive.namelist()
  return [each.removesuffix(".npy") for each in members if each.endswith(".npy")]


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
  memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  if archive.getinfo(f"{name}.npy").file_size > memory // 2:
    raise MemoryError
  with archive.open(f"{name}.npy") as member:
    try:
      array = np.lib.format.read_array(member, allow_pickle=False)
    except ValueError as error:
      if "allow_pickle" not in str(error):  # NumPy's own advice is to unpickle.
        raise
      raise DamagedError(f"{name} holds Python objects, which are never read") from None
    if member.read(1):
      raise DamagedError(f"{name} is longer than its shape")
  return array
