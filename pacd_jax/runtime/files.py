"""Atomic writing and reading of whole files, and errors of a file system in words."""

import contextlib
import errno
import os
import pathlib
import shutil
from collections.abc import Callable, Generator

from pacd_jax import errors

_ROOM, _RIGHTS = "make room there", "make it writable"
_REMEDIES = {
  **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _ROOM),
  **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _RIGHTS),
  errno.EFBIG: "allow files of that size there",
  **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENODEV), "see to its file system"),
}


# --- errors of a file system ----------------------------------------------------------


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Generator[None]:
  """Names the file in an OSError that does not: a full disk's, when it is written to."""
  try:
    yield
  except OSError as error:
    if error.errno is not None and error.filename is None:
      error.filename = os.fspath(path)
    raise


def in_words(error: BaseException) -> str:
  """One line on a file that its file system fails: which, why, and what to do.

  "" for any other error: a file that is missing, say, is a mistake of ours or the user's.
  """
  if not isinstance(error, OSError) or error.filename is None:
    return ""
  if (remedy := _REMEDIES.get(error.errno or 0)) is None:
    return ""
  name = os.fsdecode(error.filename)
  return f"{name}: {error.strerror}: {remedy}, and the same command goes on"


# --- writing --------------------------------------------------------------------------


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Generator[pathlib.Path]:
  """Yields a name beside `path` for a new file, which replaces it at the end.

  After an error the new file is deleted, and `path` is as it was. Its folder is made if it
  is missing.

  Raises:
    OSError: it cannot be written; names a file.
  """
  path = pathlib.Path(path)
  beside = path.with_name(path.name + ".tmp")
  with naming(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
      yield beside
      os.replace(beside, path)
    except BaseException:
      with contextlib.suppress(OSError):
        beside.unlink(missing_ok=True)
      raise


def write(path: str | os.PathLike, contents: bytes) -> None:
  """Writes a file as `replacing` does, and waits for the disk."""
  with replacing(path) as beside, open(beside, "wb") as file:
    file.write(contents)
    file.flush()
    os.fsync(file.fileno())


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes UTF-8 as `write` does."""
  write(path, text.encode())


@contextlib.contextmanager
def new_folder(path: pathlib.Path) -> Generator[pathlib.Path]:
  """Yields a new, hidden folder beside `path`, which becomes `path` at the end.

  After an error it is deleted, as is one that a killed process has left. `path` may be an
  empty folder.
  """
  beside = path.with_name(f".{path.name}.unfinished")
  with naming(path):
    if beside.exists():
      shutil.rmtree(beside)
    beside.mkdir(parents=True)
    try:
      yield beside
      os.replace(beside, path)
    except BaseException:
      shutil.rmtree(beside, ignore_errors=True)
      raise


# --- reading --------------------------------------------------------------------------


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


def out_folder(
  path: str | os.PathLike, is_ours: Callable[[pathlib.Path], bool]
) -> pathlib.Path:
  """The folder of an --out, before any work: it may be new, empty, or of the same command.

  Args:
    path: as the user gave it.
    is_ours: whether a folder with files is of the same command.

  Raises:
    errors.InputError: it is there and of something else, or cannot be made.
  """
  folder = user_path(path)
  if folder.exists():
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if not (is_empty or (folder.is_dir() and is_ours(folder))):
      raise errors.InputError(
        f"{folder} is there, and of something else: give another --out"
      )
  parent = folder.absolute().parent
  if not (parent.is_dir() and os.access(parent, os.W_OK)):
    raise errors.InputError(f"{parent} is no folder that can be written to: make it")
  return folder


def read_bytes(path: str | os.PathLike) -> bytes:
  """Reads a whole file; raises errors.InputError if it cannot be read."""
  try:
    return pathlib.Path(path).read_bytes()
  except OSError as error:
    raise errors.InputError(f"{path} cannot be read: {error.strerror}") from None
