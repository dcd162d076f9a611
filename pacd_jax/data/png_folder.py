"""A poison as a folder of PNGs with a table, to look at, to edit and to take elsewhere.

  FOLDER/poison.csv        file, base, index, label, base_label, inserted, triggered
  FOLDER/poison.json       epsilon, norm, target_class, dataset, sigma, checksum, goal
  FOLDER/images/00000.png  the images
  FOLDER/base/00000.png    what they were made from

PNG keeps 8-bit images as they are, so that a poison comes back to the bit. Folders of
earlier versions have neither `triggered` nor a goal.
"""

import csv
import io
import json
import os
import pathlib
from typing import Any

import numpy as np
from PIL import Image

from pacd_jax import errors, types
from pacd_jax.data import goals, poison_file
from pacd_jax.runtime import files

_TABLE, _ABOUT = "poison.csv", "poison.json"
_COLUMNS = ("file", "base", "index", "label", "base_label", "inserted")
_TRIGGERED = "triggered"
_SCALARS = ("epsilon", "norm", "target_class", "dataset", "sigma", "checksum")


def save(folder: str | os.PathLike, poison: types.Poison) -> None:
  """Writes a poison as PNGs, in a folder beside that is renamed once all are there.

  Raises:
    errors.InputError: the folder is not empty, or its images are of no kind that PNG has.
  """
  path = files.user_path(folder).absolute()
  if path.exists() and any(path.iterdir()):
    raise errors.InputError(f"{path} is not empty: give a new folder")
  if poison.images.shape[-1] not in (1, 3):
    raise errors.InputError(
      f"images have {poison.images.shape[-1]} channels, and PNGs 1 or 3: keep the .npz"
    )
  with files.new_folder(path) as beside:
    _write(beside, poison)


def _write(path: pathlib.Path, poison: types.Poison) -> None:
  about = {name: getattr(poison, name) for name in _SCALARS}
  about["goal"] = goals.to_text(poison.goal)
  text = json.dumps(about, indent=2) + "\n"
  files.write_text(path / _ABOUT, text)
  lines = io.StringIO()
  writer = csv.writer(lines, lineterminator="\n")
  writer.writerow([*_COLUMNS, _TRIGGERED])
  for number in range(len(poison.images)):
    names = [f"{part}/{number:05}.png" for part in ("images", "base")]
    for name, images in zip(names, (poison.images, poison.base_images), strict=True):
      _write_png(path / name, images[number])
    values = (poison.indices, poison.labels, poison.base_labels, poison.inserted)
    values = (int(of_all[number]) for of_all in (*values, poison.triggered))
    writer.writerow([*names, *values])
  table = lines.getvalue()
  files.write_text(path / _TABLE, table)


def load(folder: str | os.PathLike) -> types.Poison:
  """Reads the poison of a folder that `save` wrote, or that was edited since.

  Raises:
    errors.InputError: a file is missing or damaged, images differ in size, or the poison
      contradicts itself, as for `poison_file.load`.
  """
  path = files.user_path(folder)
  about, rows = _about(path / _ABOUT), _rows(path / _TABLE)
  images, base = (
    _stacked([_read_png(path / row[column]) for row in rows], path)
    for column in ("file", "base")
  )
  try:
    numbers = {
      name: np.array([int(row[name]) for row in rows], np.int64)
      for name in ("index", "label", "base_label", "inserted", _TRIGGERED)
    }
  except ValueError as error:
    raise errors.InputError(f"{path / _TABLE}: {error}: give whole numbers") from None
  labels, base_labels = numbers["label"], numbers["base_label"]
  poison = types.Poison(
    images=images,
    base_images=base,
    labels=labels.astype(np.int32),
    base_labels=base_labels.astype(np.int32),
    indices=numbers["index"],
    inserted=numbers["inserted"].astype(bool),
    clean_label=np.array_equal(labels, base_labels),
    triggered=numbers[_TRIGGERED].astype(bool),
    **about,
  )
  poison_file.check(poison, path)
  return poison


def _write_png(path: pathlib.Path, image: np.ndarray) -> None:
  """Writes one uint8 image `[H, W, C]`, C = 1 or 3."""
  picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
  encoded = io.BytesIO()  # Pillow would not tell why a file cannot be written.
  picture.save(encoded, format="PNG")
  files.write(path, encoded.getvalue())


def _read_png(path: pathlib.Path) -> np.ndarray:
  try:
    with Image.open(path, formats=("PNG",)) as picture:
      mode, image = picture.mode, np.asarray(picture)
  except FileNotFoundError:
    raise errors.InputError(f"{path} is missing: take its line out of {_TABLE}") from None
  except (OSError, SyntaxError, ValueError):  # Of damaged files.
    raise errors.InputError(f"{path} is no PNG, or damaged: save it again") from None
  if mode not in ("L", "RGB"):
    raise errors.InputError(
      f"{path} is of mode {mode}: save it as 8-bit grey (L) or RGB, no alpha"
    )
  return image[..., None] if image.ndim == 2 else image


def _stacked(images: list[np.ndarray], path: pathlib.Path) -> np.ndarray:
  shapes = {image.shape for image in images}
  if len(shapes) > 1:
    sizes = " and ".join("x".join(map(str, shape)) for shape in sorted(shapes))
    raise errors.InputError(f"{path}: images are {sizes}: give them one size")
  return np.stack(images)


def _about(path: pathlib.Path) -> dict[str, Any]:
  text = files.read_bytes(path)
  try:
    about = json.loads(text)
    return {
      "epsilon": float(about["epsilon"]),
      "norm": str(about["norm"]),
      "target_class": int(about["target_class"]),
      "dataset": str(about["dataset"]),
      "sigma": float(about["sigma"]),
      "checksum": str(about["checksum"]),
      "goal": goals.of_text(str(about.get("goal", ""))),
    }
  except (ValueError, TypeError, KeyError, RecursionError) as error:
    raise errors.InputError(
      f"{path} does not say {', '.join(_SCALARS)} ({type(error).__name__}: {error})"
    ) from None


def _rows(path: pathlib.Path) -> list[dict[str, str]]:
  if not path.exists():
    raise errors.InputError(f"{path} is missing: give a folder that has this table")
  try:
    text = files.read_bytes(path).decode("utf-8-sig")
  except UnicodeDecodeError:
    raise errors.InputError(f"{path} is not UTF-8: save it so") from None
  reader = csv.DictReader(io.StringIO(text))
  if missing := [name for name in _COLUMNS if name not in (reader.fieldnames or ())]:
    raise errors.InputError(f"{path} lacks the column {missing[0]}: add it")
  rows = list(reader)
  if not rows:
    raise errors.InputError(f"{path} has no line: a poison needs an image")
  for number, row in enumerate(rows, start=2):
    row.setdefault(_TRIGGERED, "0")
    if any(row[name] is None for name in (*_COLUMNS, _TRIGGERED)):
      raise errors.InputError(f"{path}, line {number} is cut short: complete it")
  return rows
