"""`poison/<name>.npz`: written atomically, read without pickle, refused when foreign.

A file says its schema: 2 has the fields of `types.Poison`. Files of schema 1 say none; they
hold images of one class that take the place of others under their own labels, and are read.
"""

import functools
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import files

SCHEMA = 2  # Of the files that `save` writes.
_NEW = ("base_labels", "inserted", "clean_label")  # In it.
_FIELDS = {
  1: tuple(name for name in types.Poison._fields if name not in _NEW),
  2: types.Poison._fields,
}
# Fields that are scalars, with the kinds of dtype that each may have.
_SCALARS = {
  "clean_label": "b",
  "epsilon": "f",
  "norm": "U",
  "target_class": "iu",
  "dataset": "U",
  "sigma": "f",
  "checksum": "U",
}


def save(
  path: str | os.PathLike,
  poison: types.Poison,
  stamp: Mapping[str, Any] | None = None,
) -> None:
  """Writes the poison beside `path`, then renames: no half-written file is ever seen.

  The same poison gives the same bytes: entries carry no date.

  Args:
    path: of the file.
    poison: all of it.
    stamp: where it comes from (`runtime.stamp`), if that is to stand in the file.

  Raises:
    errors.InputError: the poison is not one that `load` would read.
  """
  poison = poison._replace(epsilon=float(poison.epsilon), sigma=float(poison.sigma))
  _check(poison, functools.partial(_unusable, path, "save another"))
  fields: dict[str, Any] = {"schema": SCHEMA} | poison._asdict()
  if stamp is not None:
    fields["stamp"] = json.dumps(stamp)
  files.write(path, lambda file: np.savez_compressed(file, **fields))


def copy(source: str | os.PathLike, path: str | os.PathLike) -> None:
  """Copies a file byte for byte: beside `path`, then renamed.

  Raises:
    errors.InputError: it cannot be read.
  """
  contents = files.read_bytes(source)
  files.write(path, lambda file: file.write(contents))


def find(path: str | os.PathLike) -> pathlib.Path:
  """The file that a path means: itself, or `poison/pacd.npz` of a run's folder."""
  path = pathlib.Path(path).expanduser()
  return path / "poison" / "pacd.npz" if path.is_dir() else path


def load(path: str | os.PathLike, *, remedy: str = "") -> types.Poison:
  """Reads and checks one poison, of any schema.

  Args:
    path: of the file.
    remedy: what an error advises; by default to make it again.

  Raises:
    errors.InputError: the file is missing, truncated, not a poison, or contradicts
      itself (shapes, labels, budget); or its schema is unknown.
  """
  unusable = functools.partial(_unusable, path, remedy)
  try:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
      names = ("schema", *types.Poison._fields)
      there = [name for name in names if name in arrays.files]
      fields: dict[str, Any] = {name: np.asarray(arrays[name]) for name in there}
  except FileNotFoundError:
    remedy = remedy or "rerun --stage=attack"
    raise errors.InputError(f"{path}: no such poison: {remedy}") from None
  except Exception as error:  # Damaged zip files raise a dozen kinds.
    reason = type(error).__name__  # NumPy's own words advise to unpickle.
    raise unusable(f"it is truncated or not a poison file ({reason})") from None
  schema = _schema(fields, unusable)
  for name in _FIELDS[schema]:
    if name not in fields:
      raise unusable(f"it has no field {name}")
    if name in _SCALARS:
      fields[name] = _scalar(name, fields[name], _SCALARS[name], unusable)
  if schema == 1:
    labels = fields["labels"]
    of_all = {"base_labels": labels, "inserted": np.zeros(labels.shape, bool)}
    fields |= of_all | {"clean_label": True}
  poison = types.Poison(**fields)
  _check(poison, unusable)
  if schema == 1 and (poison.labels != poison.target_class).any():
    raise unusable(f"a label is not the target class {poison.target_class}")
  return poison


def read_stamp(path: str | os.PathLike) -> dict[str, Any] | None:
  """Where a poison comes from, as `save` was told; None: the file does not say.

  Raises:
    errors.InputError: what stands there is no stamp.
  """
  load(path)
  with np.load(path, allow_pickle=False) as arrays:
    if "stamp" not in arrays.files:
      return None
    text = arrays["stamp"]
  try:
    return dict(json.loads(text.item()))
  except (ValueError, TypeError):
    raise _unusable(path, "make it again", "its stamp is damaged") from None


def _schema(
  fields: dict[str, np.ndarray], unusable: Callable[[str], errors.InputError]
) -> int:
  """Takes it out of the fields; that of a file without one is 1."""
  if "schema" not in fields:
    if not fields.keys().isdisjoint(_NEW):
      raise unusable("it has no field schema")
    return 1
  schema = _scalar("schema", fields.pop("schema"), "iu", unusable)
  if schema not in _FIELDS:
    known = " and ".join(str(number) for number in _FIELDS)
    raise unusable(f"its schema is {schema}, and this version reads {known}")
  return schema


def _scalar(
  name: str, value: np.ndarray, kinds: str, unusable: Callable[[str], errors.InputError]
) -> bool | int | float | str:
  if value.shape or value.dtype.kind not in kinds:
    raise unusable(f"{name} is {value.dtype} of shape {value.shape}")
  return value.item()


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
  if not len(images):
    raise unusable("it has no image")
  for pair, kinds, kind in (
    (("labels", "indices"), "iu", "integers"),
    (("base_labels",), "iu", "integers"),
    (("inserted",), "b", "true or false"),
  ):
    of_pair, words = [getattr(poison, name) for name in pair], " or ".join(pair)
    if any(value.shape != (len(images),) for value in of_pair):
      raise unusable(f"{words} are not one for each of {len(images)} images")
    if any(value.dtype.kind not in kinds for value in of_pair):
      raise unusable(f"{words} are not {kind}")
  for labels in (poison.labels, poison.base_labels):
    if labels.min() < 0:
      raise unusable(f"label {labels.min()} is no class")
  _check_places(poison, unusable)
  flipped = np.flatnonzero(poison.labels != poison.base_labels)
  if poison.clean_label and len(flipped):
    label, base_label = poison.labels[flipped[0]], poison.base_labels[flipped[0]]
    raise unusable(
      f"image {flipped[0]} has label {label} and base label {base_label}, but clean_label "
      "is true (where that is meant, it is false)"
    )
  if not (poison.clean_label or len(flipped)):
    raise unusable(
      "clean_label is false, but every label is that of its base image (where that is "
      "meant, it is true)"
    )
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


def _check_places(
  poison: types.Poison, unusable: Callable[[str], errors.InputError]
) -> None:
  """Where images go, and where they come from."""
  replaced = poison.indices[~poison.inserted]
  if len(np.unique(replaced)) < len(replaced) or (replaced < 0).any():
    raise unusable("indices are not different positions of at least 0")
  if (poison.indices < -1).any():
    raise unusable("an index of an inserted image is below -1, which stands for no base")
  moved = (poison.images != poison.base_images).any(axis=(1, 2, 3))
  alone = np.flatnonzero(moved & (poison.indices == -1))
  if len(alone):
    raise unusable(f"image {alone[0]} has no base (index -1), but another base image")
