"""Arrays of .npz files, read to their ends and without pickle."""

import io
import os
import zipfile
from collections.abc import Iterable, Mapping

import numpy as np

from pacd_jax.runtime import files


class DamagedError(Exception):
  """An .npz file, or an array in it, that cannot be used: the text says why.

  Attributes:
    remedy: what to do, where it is more than to make the file again; else "".
  """

  def __init__(self, reason: str, remedy: str = ""):
    super().__init__(reason)
    self.remedy = remedy


def read(path: str | os.PathLike, wanted: Iterable[str]) -> dict[str, np.ndarray]:
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
        for name in wanted:
          if f"{name}.npy" in members:
            found[name] = _array(archive, name)
    except DamagedError:
      raise
    except MemoryError:
      reason = "its arrays do not fit in this machine's memory"
      raise DamagedError(reason, "save fewer images") from None
    except Exception as error:  # Damaged zip files raise many kinds of errors.
      raise DamagedError(type(error).__name__) from None
  return found


def names(path: str | os.PathLike) -> list[str]:
  """The names of the arrays in an .npz file that `read` can read."""
  with zipfile.ZipFile(path) as archive:
    members = archive.namelist()
  return [each.removesuffix(".npy") for each in members if each.endswith(".npy")]


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
  memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  if archive.getinfo(f"{name}.npy").file_size > memory:
    raise MemoryError
  with archive.open(f"{name}.npy") as member:
    try:
      array = np.lib.format.read_array(member, allow_pickle=False)
    except ValueError as error:
      if "allow_pickle" not in str(error):  # NumPy's own advice is to unpickle.
        raise
      raise DamagedError(
        f"{name} holds Python objects, which are never read",
        "save one array of numbers in which all images have one shape",
      ) from None
    if member.read(1):
      raise DamagedError(f"{name} is longer than its shape")
  return array


def save(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes arrays by their names, compressed and atomically: beside, then renamed."""
  file = io.BytesIO()
  np.savez_compressed(file, allow_pickle=False, **arrays)
  files.write(path, file.getvalue())
