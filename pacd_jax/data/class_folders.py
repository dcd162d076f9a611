"""Images of yours as a folder with a folder of PNGs for each class.

  FOLDER/cat/0001.png  FOLDER/dog/0001.png

Classes are numbered by their folders' names in order: by number if all are whole numbers,
else by alphabet.
"""

import os
import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from pacd_jax import errors, types
from pacd_jax.runtime import files


class Images(NamedTuple):
  """Images with their classes, and where they are from."""

  data: types.Dataset
  classes: list[str]  # Their names, by label.
  files: list[str]  # By position, from the folder: "cat/0001.png".


def load(folder: str | os.PathLike) -> Images:
  """Reads all images.

  Args:
    folder: of 8-bit PNGs, grey or coloured, all of one kind and size.

  Raises:
    errors.InputError: there are no classes, a class is empty, or a file is no such image.
  """
  path = files.user_path(folder)
  names = [each.name for each in path.iterdir() if each.is_dir()] if path.is_dir() else []
  names = [name for name in names if not name.startswith(".")]
  if len(names) < 2:
    raise errors.InputError(
      f"{path} has {len(names)} folders of images: give one for each class, at least two"
    )
  names.sort(key=int if all(name.isdecimal() for name in names) else str)
  images, labels, found = [], [], []
  for label, name in enumerate(names):
    of_class = sorted(p for p in (path / name).iterdir() if not p.name.startswith("."))
    for each in of_class:
      if each.suffix.lower() != ".png":
        raise errors.InputError(f"{each} is no .png: convert it, or take it away")
    if not of_class:
      raise errors.InputError(f"{path / name} has no .png: a class has at least one image")
    images += [_read(each, images[0] if images else None) for each in of_class]
    labels += [label] * len(of_class)
    found += [f"{name}/{each.name}" for each in of_class]
  data = types.Dataset(np.stack(images), np.array(labels, np.int32))
  return Images(data, names, found)


def _read(path: pathlib.Path, first: np.ndarray | None) -> np.ndarray:
  """One image `[H, W, C]`, of the first one's shape."""
  try:
    with Image.open(path) as image:
      mode, pixels = image.mode, np.asarray(image)
  except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
    raise errors.InputError(f"{path} is no image: {error}") from None
  if mode not in ("L", "RGB"):
    raise errors.InputError(
      f"{path} has mode {mode}: use 8-bit PNGs, grey (L) or coloured (RGB)"
    )
  pixels = pixels.reshape(*pixels.shape[:2], -1)
  if first is not None and pixels.shape != first.shape:
    raise errors.InputError(
      f"{path} has shape {pixels.shape}, and the first image {first.shape}: use images of "
      "one kind and size"
    )
  return pixels
