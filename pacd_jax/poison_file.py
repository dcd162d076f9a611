"""`poison/<name>.npz`: written atomically, read without pickle, refused when foreign."""

import os
import pathlib

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
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  beside = path.with_name(path.name + ".tmp")
  with open(beside, "wb") as file:
    np.savez_compressed(file, **poison._asdict())
    file.flush()
    os.fsync(file.fileno())
  os.replace(beside, path)


def load(path: str | os.PathLike) -> types.Poison:
  """Reads and checks one poison.

  Raises:
    errors.InputError: the file is missing, truncated, not a poison, or contradicts
      itself (shapes, labels, budget).
  """
  try:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
      fields = {name: np.asarray(arrays[name]) for name in types.Poison._fields}
  except FileNotFoundError:
    raise errors.InputError(f"{path}: no such poison: rerun --stage=attack") from None
  except KeyError as error:
    raise _unusable(path, f"it has no field {error.args[0]}") from None
  except Exception as error:  # Damaged zip files raise a dozen kinds.
    reason = type(error).__name__  # NumPy's own words advise to unpickle.
    raise _unusable(path, f"it is truncated or not a poison file ({reason})") from None
  for name, kinds in _SCALARS.items():
    value = fields[name]
    if value.shape or value.dtype.kind not in kinds:
      raise _unusable(path, f"{name} is {value.dtype} of shape {value.shape}")
    fields[name] = value.item()
  poison = types.Poison(**fields)
  _check(path, poison)
  return poison


def _unusable(path: str | os.PathLike, reason: str) -> errors.InputError:
  return errors.InputError(f"{path}: {reason}: delete it and rerun --stage=attack")


def _check(path: str | os.PathLike, poison: types.Poison) -> None:
  """The file keeps the promises that victims and reports rely on."""
  images, base = poison.images, poison.base_images
  if images.dtype != np.uint8 or base.dtype != np.uint8:
    raise _unusable(path, f"images are {images.dtype} and {base.dtype}, not uint8")
  if images.ndim != 4 or images.shape != base.shape:
    raise _unusable(path, f"images {images.shape} do not match base {base.shape}")
  count = (len(images),)
  if poison.labels.shape != count or poison.indices.shape != count:
    raise _unusable(path, f"labels or indices are not one for each of {count[0]} images")
  if poison.labels.dtype.kind not in "iu" or poison.indices.dtype.kind not in "iu":
    raise _unusable(path, "labels or indices are not integers")
  if len(np.unique(poison.indices)) < len(images) or (poison.indices < 0).any():
    raise _unusable(path, "indices are not different positions of at least 0")
  if (poison.labels != poison.target_class).any():
    raise _unusable(path, f"a label is not the target class {poison.target_class}")
  if not (np.isfinite([poison.epsilon, poison.sigma]).all() and poison.epsilon > 0):
    raise _unusable(path, f"epsilon {poison.epsilon} or sigma {poison.sigma} is no budget")
  distance = np.abs(images.astype(np.float64) - base) / 255.0
  if poison.norm == "l2":
    size = np.sqrt((distance**2).sum(axis=(1, 2, 3)))
  elif poison.norm == "linf":
    size = distance.max(axis=(1, 2, 3))
  else:
    raise _unusable(path, f"norm {poison.norm!r} is neither 'linf' nor 'l2'")
  if len(size) and size.max() > poison.epsilon + 1e-9:
    raise _unusable(
      path, f"an image is {size.max():.6g} from its base, over {poison.epsilon:.6g}"
    )
