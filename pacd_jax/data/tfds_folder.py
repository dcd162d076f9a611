"""MNIST and CIFAR-10 as TensorFlow Datasets stores them, read without TensorFlow.

The folder `data_dir/<name>/<version>` holds array_record files of encoded images. They are
always decoded by Pillow, since decoders of JPEG differ in the last bits.
"""

import functools
import io
import os
import pathlib
import re
import shlex
from typing import NamedTuple

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data.sources import Source
from pacd_jax.runtime import files


class _Known(NamedTuple):
  title: str
  image_shape: tuple[int, int, int]
  num_images: tuple[int, int]  # In the training and the test split.


_KNOWN = {
  "mnist": _Known("MNIST", (28, 28, 1), (60_000, 10_000)),
  "cifar10": _Known("CIFAR-10", (32, 32, 3), (50_000, 10_000)),
}
_NUM_CLASSES = 10
NAMES = tuple(_KNOWN)


def root(data_dir: str | os.PathLike | None) -> pathlib.Path:
  """The folder of data sets: `data_dir`, or the default folder of TFDS."""
  default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
  return files.user_path(data_dir or default)


def find(name: str, data_dir: str | os.PathLike | None) -> pathlib.Path | None:
  """The folder of the newest version present, complete or not; None if there is none."""
  versions = {}
  for folder in (root(data_dir) / name).glob("*.*.*"):
    if re.fullmatch(r"\d+\.\d+\.\d+", folder.name):
      versions[tuple(int(part) for part in folder.name.split("."))] = folder
  return versions[max(versions)] if versions else None


def load(name: str, data_dir: str | os.PathLike | None = None) -> Source:
  """Reads the training and the test split of a prepared data set.

  Args:
    name: one of `NAMES`.
    data_dir: the folder of data sets; None or "": `$TFDS_DATA_DIR`, or
      ~/tensorflow_datasets.

  Returns:
    The images in the order in which they are stored. The description names the JPEG
    quality if the images are stored as JPEG, as in "CIFAR-10 (JPEG-75)", and the numbers
    of images if these are not the standard ones.

  Raises:
    errors.InputError: the data set is missing or incomplete.
  """
  known, folder = _KNOWN[name], find(name, data_dir)
  where = root(data_dir)
  command = f"pacd prepare {name} --data_dir={shlex.quote(str(where))}"
  if folder is None and where.name == name and list(where.glob("*/dataset_info.json")):
    raise errors.InputError(
      f"data_dir={where} is {known.title}'s own folder: give the one above, {where.parent}"
    )
  if folder is None:
    raise errors.InputError(
      f"{where / name}: {known.title} is not prepared there: run {command}"
    )
  try:
    import tensorflow_datasets as tfds  # Imported here: it costs half a second.

    builder = _open(tfds, folder)
    _check_metadata(builder, name)
    parts, kinds = [], set()
    for split in ("train", "test"):
      dataset, split_kinds = _read_split(tfds, builder, split, known.image_shape)
      parts.append(dataset)
      kinds |= split_kinds
  except ImportError as error:
    package = (error.name or "tensorflow_datasets").partition(".")[0]
    raise errors.InputError(
      f"data.name={name} needs the package {package}: pip install {package}"
    ) from None
  except MemoryError:
    raise errors.InputError(
      f"{folder}: its images do not fit in this machine's memory"
    ) from None
  except Exception as error:  # Libraries raise many kinds of errors for damaged files.
    raise errors.InputError(
      f"{folder}: cannot be used ({first_line(error)}): delete it, or take another "
      f"data_dir, and run {command}"
    ) from None
  notes = _describe_storage(kinds)
  num_images = tuple(len(part.labels) for part in parts)
  if num_images != known.num_images:
    notes.append(f"{num_images[0]:,} + {num_images[1]:,} images")
  description = known.title + (f" ({', '.join(notes)})" if notes else "")
  return Source(description, _NUM_CLASSES, *parts)


def first_line(error: Exception) -> str:
  """The first line of an error's message, or its type's name if it has none."""
  return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _open(tfds, folder: pathlib.Path):
  try:
    return tfds.builder_from_directory(folder)
  except Exception as error:  # JSON, protocol buffers and TFDS each raise their own errors.
    reason = first_line(error).rstrip(".")
    raise ValueError(f"dataset_info.json or features.json: {reason}") from None


def _check_metadata(builder, name: str) -> None:
  """Raises ValueError unless the metadata are as expected and the files match them."""
  from array_record.python import array_record_module

  known, info = _KNOWN[name], builder.info
  if info.name != name:
    raise ValueError(f"it holds {info.name}")
  if info.file_format is None or info.file_format.value != "array_record":
    stored_as = info.file_format.value if info.file_format else "nothing known"
    raise ValueError(f"it is stored as {stored_as}, not as array_record")
  for feature in ("image", "label"):
    if feature not in info.features:
      raise ValueError(f"features.json has no {feature}")
  image, label = info.features["image"], info.features["label"]
  if image.shape != known.image_shape or image.np_dtype != np.uint8:
    stored = f"{np.dtype(image.np_dtype).name} {image.shape}"
    raise ValueError(f"images are {stored}, not uint8 {known.image_shape}")
  if label.num_classes != _NUM_CLASSES:
    raise ValueError(f"it has {label.num_classes} classes, not {_NUM_CLASSES}")
  for split in ("train", "test"):
    if split not in info.splits or not info.splits[split].num_examples:
      raise ValueError(f"dataset_info.json has no {split} images")
    stored = info.splits[split]
    for path, expected in zip(stored.filepaths, stored.shard_lengths, strict=True):
      if not path.exists():
        raise ValueError(f"{path.name} is missing")
      try:
        reader = array_record_module.ArrayRecordReader(str(path))
        num_records = reader.num_records()
        reader.close()
      except RuntimeError:
        raise ValueError(f"{path.name} is damaged") from None
      if num_records != expected:
        raise ValueError(f"{path.name} has {num_records} records, not {expected}")


def _read_split(tfds, builder, split: str, image_shape: tuple[int, int, int]):
  """Reads one split; returns it and the set of formats in which its images are stored."""
  # Not decoded by TFDS: the encoded bytes show the format.
  decoders = {"image": tfds.decode.SkipDecoding()}
  source = builder.as_data_source(split, decoders=decoders)
  try:
    examples = source.__getitems__(range(len(source)))
  except RuntimeError:
    raise ValueError(f"records of {split} are damaged") from None
  images = np.empty((len(examples), *image_shape), np.uint8)
  labels = np.array([example["label"] for example in examples])
  if labels.min() < 0 or labels.max() >= _NUM_CLASSES:
    raise ValueError(f"labels of {split} are from {labels.min()} to {labels.max()}")
  kinds = set()
  for i, example in enumerate(examples):
    try:
      images[i], kind = _decode(example["image"], image_shape)
    except (OSError, SyntaxError, ValueError) as error:  # All are raised by Pillow.
      reason = "is damaged" if isinstance(error, OSError | SyntaxError) else error
      raise ValueError(f"image {i} of {split} {reason}") from None
    kinds.add(kind)
  return types.Dataset(images, labels.astype(np.int32)), kinds


def _decode(encoded: bytes, image_shape: tuple[int, int, int]) -> tuple[np.ndarray, str]:
  """Pixels `[H, W, C]`, and "PNG", "JPEG-75" or, for non-standard tables, "JPEG"."""
  from PIL import Image

  height, width, channels = image_shape
  with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
    if (image.size, image.mode) != ((width, height), "L" if channels == 1 else "RGB"):
      raise ValueError(f"is {image.mode} of {image.height} x {image.width}")
    kind = str(image.format)
    if kind == "JPEG":
      quality = _jpeg_qualities().get(_quantization(image))
      kind = f"JPEG-{quality}" if quality else "JPEG"
    return np.asarray(image).reshape(image_shape), kind


def _quantization(image) -> tuple[tuple[int, ...], ...]:
  """A JPEG's quantisation tables, an attribute of Pillow's JPEG class alone."""
  return tuple(tuple(table) for _, table in sorted(image.quantization.items()))


@functools.cache
def _jpeg_qualities() -> dict[tuple[tuple[int, ...], ...], int]:
  """Maps quantisation tables to qualities 1 to 100, as libjpeg scales standard tables."""
  from PIL import Image

  qualities = {}
  for mode in ("L", "RGB"):
    for quality in range(1, 101):
      encoded = io.BytesIO()
      Image.new(mode, (8, 8)).save(encoded, "JPEG", quality=quality)
      with Image.open(encoded) as image:
        qualities.setdefault(_quantization(image), quality)
  return qualities


def _describe_storage(kinds: set[str]) -> list[str]:
  """A note on lossy storage for the description: [] if all images are PNG."""
  lossy = " or ".join(sorted(kinds - {"PNG"}))
  if not lossy:
    return []
  return [f"partly {lossy}" if "PNG" in kinds else lossy]
