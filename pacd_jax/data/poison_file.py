"""Poison files `poison/<name>.npz`: written atomically, read without pickle, checked.

A file of schema 3 states its schema, and has the fields of `types.Poison`, the goal as text
(`goals.to_text`). Older files can be read, too: those of schema 2 have no goal, and no
image with a trigger. Those of schema 1, which state none, hold images of one class that
replace others, with unchanged labels.
"""

import functools
import io
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import goals, npz_arrays
from pacd_jax.runtime import files

SCHEMA = 3  # Schema of the files that `save` writes.
_NEWER = ("triggered", "goal")  # Fields that schema 2 lacks,
_NEW = ("base_labels", "inserted", "clean_label", *_NEWER)  # and those that schema 1 does.
_FIELDS = {
  1: tuple(name for name in types.Poison._fields if name not in _NEW),
  2: tuple(name for name in types.Poison._fields if name not in _NEWER),
  3: types.Poison._fields,
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
  "goal": "U",
}


def save(path: str | os.PathLike, poison: types.Poison) -> None:
  """Writes a poison atomically: beside `path`, then renamed; raises as `contents` does."""
  files.write(path, contents(path, poison))


def contents(path: str | os.PathLike, poison: types.Poison) -> bytes:
  """The bytes of a poison's file; the same poison gives the same, as they hold no date.

  Args:
    path: the file's path, for messages.
    poison: the poison.

  Raises:
    errors.InputError: the poison is not one that `load` would read.
  """
  poison = poison._replace(epsilon=float(poison.epsilon), sigma=float(poison.sigma))
  _check(poison, functools.partial(_unusable, path, "save another"))
  fields: dict[str, Any] = {"schema": SCHEMA} | poison._asdict()
  fields["goal"] = goals.to_text(poison.goal)
  file = io.BytesIO()
  np.savez_compressed(file, **fields)
  return file.getvalue()


def check(poison: types.Poison, source: str | os.PathLike) -> None:
  """Raises `errors.InputError`, which names the source, unless `save` would take it."""
  _check(poison, functools.partial(_unusable, source, "correct it"))


def find(path: str | os.PathLike) -> pathlib.Path:
  """The poison file of a path: the path itself, or `poison/pacd.npz` in a run's folder."""
  path = files.user_path(path)
  return path / "poison" / "pacd.npz" if path.is_dir() else path


def load(path: str | os.PathLike, *, remedy: str = "") -> types.Poison:
  """Reads and checks a poison file of any schema.

  Args:
    path: path of the file.
    remedy: the advice in error messages; by default to make the poison again.

  Raises:
    errors.InputError: the file is missing, truncated, not a poison, or contradicts
      itself (shapes, labels, budget); or its schema is unknown.
  """
  unusable = functools.partial(_unusable, path, remedy)
  try:
    fields: dict[str, Any] = dict(npz_arrays.read(path, ("schema", *types.Poison._fields)))
  except FileNotFoundError:
    remedy = remedy or "rerun --stage=attack"
    raise errors.InputError(f"{path}: no such poison: {remedy}") from None
  except OSError as error:
    raise errors.InputError(f"{path} cannot be read: {error.strerror}") from None
  except npz_arrays.DamagedError as error:
    raise unusable(f"it is truncated or not a poison file ({error})") from None
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
  if schema < 3:
    fields |= {"triggered": np.zeros(fields["labels"].shape, bool), "goal": ""}
  try:
    fields["goal"] = goals.of_text(fields["goal"])
  except ValueError as error:
    raise unusable(str(error)) from None
  poison = types.Poison(**fields)
  _check(poison, unusable)
  if schema == 1 and (poison.labels != poison.target_class).any():
    raise unusable(f"a label is not the target class {poison.target_class}")
  return poison


def _schema(
  fields: dict[str, np.ndarray], unusable: Callable[[str], errors.InputError]
) -> int:
  """Removes the schema from the fields and returns it; 1 for a file without one."""
  if "schema" not in fields:
    if not fields.keys().isdisjoint(_NEW):
      raise unusable("it has no field schema")
    return 1
  schema = _scalar("schema", fields.pop("schema"), "iu", unusable)
  if schema not in _FIELDS:
    known = f"1 to {SCHEMA}"
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
  """Raises an error unless the poison has the properties that its users rely on."""
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
    (("triggered",), "b", "true or false"),
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
  _check_goal(poison, unusable)
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


def _check_goal(poison: types.Poison, unusable: Callable[[str], errors.InputError]) -> None:
  """Checks that the goal is one, and that images with a trigger have one to carry."""
  if poison.goal is not None:
    try:
      goals.checked(poison.goal)
    except ValueError as error:
      raise unusable(str(error)) from None
  if poison.triggered.any() and not (poison.goal and poison.goal.trigger):
    raise unusable("an image is triggered, but its goal has no trigger")


def _check_places(
  poison: types.Poison, unusable: Callable[[str], errors.InputError]
) -> None:
  """Checks `indices` and `inserted`: where images are put, and their base images."""
  replaced = poison.indices[~poison.inserted]
  if len(np.unique(replaced)) < len(replaced) or (replaced < 0).any():
    raise unusable("indices are not different positions of at least 0")
  if (poison.indices < -1).any():
    raise unusable("an index of an inserted image is below -1, which stands for no base")
  moved = (poison.images != poison.base_images).any(axis=(1, 2, 3))
  alone = np.flatnonzero(moved & (poison.indices == -1))
  if len(alone):
    raise unusable(f"image {alone[0]} has no base (index -1), but another base image")
