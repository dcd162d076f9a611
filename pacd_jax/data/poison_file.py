"""`poison/<name>.npz`: written atomically, read without pickle, refused when foreign."""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from pacd_jax import errors, types

# Fields that are scalars, with the kinds of dtype that each may have.
_SCALARS = {
  "epsilon": "f",
  "norm": "U",
  "target_class": "iu",
  "dataset": "U",
  "sigma": "f",
  "checksum": "U",
}


def save(path: str | os.PathLike, poison: types.Poison) -> None:
  """Writes the poison beside `path`, then renames: no half-written file is ever seen.

  The same poison gives the same bytes: entries carry no date.

  Raises:
    errors.InputError: the poison is not one that `load` would read.
  """
  poison = poison._replace(epsilon=float(poison.epsilon), sigma=float(poison.sigma))
  _check(poison, functools.partial(_unusable, path, "save another"))
  _write(path, lambda file: np.savez_compressed(file, **poison._asdict()))


def _write(path: str | os.PathLike, write: Callable[[BinaryIO], object]) -> None:
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  beside = path.with_name(path.name + ".tmp")
  with open(beside, "wb") as file:
    write(file)
    file.flush()
    os.fsync(file.fileno())
  os.replace(beside, path)


def copy(source: str | os.PathLike, path: str | os.PathLike) -> None:
  """Copies a file byte for byte: beside `path`, then renamed.

  Raises:
    errors.InputError: it cannot be read.
  """
  contents = read_bytes(source)
  _write(path, lambda file: file.write(contents))


def read_bytes(path: str | os.PathLike) -> bytes:
  """The whole file; errors.InputError where it cannot be read."""
  try:
    return pathlib.Path(path).read_bytes()
  except OSError as error:
    raise errors.InputError(f"{path} cannot be read: {error.strerror}") from None


def find(path: str | os.PathLike) -> pathlib.Path:
  """The file that a path means: itself, or `poison/pacd.npz` of a run's folder."""
  path = pathlib.Path(path).expanduser()
  return path / "poison" / "pacd.npz" if path.is_dir() else path


def load(path: str | os.PathLike, *, remedy: str = "") -> types.Poison:
  """Reads and checks one poison.

  Args:
    path: of the file.
    remedy: what an error advises; by default to make it again.

  Raises:
    errors.InputError: the file is missing, truncated, not a poison, or contradicts
      itself (shapes, labels, budget).
  """
  unusable = functools.partial(_unusable, path, remedy)
  try:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
      there = [name for name in types.Poison._fields if name in arrays.files]
      fields = {name: np.asarray(arrays[name]) for name in there}
  except FileNotFoundError:
    remedy = remedy or "rerun --stage=attack"
    raise errors.InputError(f"{path}: no such poison: {remedy}") from None
  except Exception as error:  # Damaged zip files raise a dozen kinds.
    reason = type(error).__name__  # NumPy's own words advise to unpickle.
    raise unusable(f"it is truncated or not a poison file ({reason})") from None
  for name in types.Poison._fields:
    if name not in fields:
      raise unusable(f"it has no field {name}")
  for name, kinds in _SCALARS.items():
    value = fields[name]
    if value.shape or value.dtype.kind not in kinds:
      raise unusable(f"{name} is {value.dtype} of shape {value.shape}")
    fields[name] = value.item()
  poison = types.Poison(**fields)
  _check(poison, unusable)
  return poison


def _unusable(path: str | os.PathLike, remedy: str, reason: str) -> errors.InputError:
  remedy = remedy or "delete it and rerun --stage=attack"
  return errors.InputError(f"{path}: {reason}: {remedy}")


def _check(poison: types.Poison, unusable: Callable[[str], errors.InputError]) -> None:
  """The file keeps the promises that victims and reports rely on."""
  images, base = poison.images, poison.base_images
  if images.dtype != np.uint8 or base.dtype != np.uint8:
    raise unusable(f"images are {images.dtype} and {base.dtype}, not uint8")
  if images.ndim != 4 or images.shape != base.shape:
    raise unusable(f"images {images.shape} do not match base {base.shape}")
  count = (len(images),)
  if poison.labels.shape != count or poison.indices.shape != count:
    raise unusable(f"labels or indices are not one for each of {count[0]} images")
  if poison.labels.dtype.kind not in "iu" or poison.indices.dtype.kind not in "iu":
    raise unusable("labels or indices are not integers")
  if len(np.unique(poison.indices)) < len(images) or (poison.indices < 0).any():
    raise unusable("indices are not different positions of at least 0")
  if (poison.labels != poison.target_class).any():
    raise unusable(f"a label is not the target class {poison.target_class}")
  if not (np.isfinite([poison.epsilon, poison.sigma]).all() and poison.epsilon > 0):
    raise unusable(f"epsilon {poison.epsilon} or sigma {poison.sigma} is no budget")
  distance = np.abs(images.astype(np.float64) - base) / 255.0
  if poison.norm == "l2":
    size = np.sqrt((distance**2).sum(axis=(1, 2, 3)))
  elif poison.norm == "linf":
    size = distance.max(axis=(1, 2, 3))
  else:
    raise unusable(f"norm {poison.norm!r} is neither 'linf' nor 'l2'")
  if len(size) and size.max() > poison.epsilon + 1e-9:
    raise unusable(
      f"an image is {size.max():.6g} from its base, over its epsilon {poison.epsilon:.6g}"
    )
