"""Tiny data sets in the layout of TensorFlow Datasets, written without TensorFlow."""

import io
import json
import pathlib

import numpy as np
from array_record.python import array_record_module
from PIL import Image

from pacd_jax import types

IMAGE_SHAPES = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3)}
_VERSIONS = {"mnist": "3.0.1", "cifar10": "3.0.2"}


def random_dataset(name, num_images, *, seed=0):
  """Images of noise that differ from each other, classes 0..9 in turn."""
  rng = np.random.default_rng(seed)
  shape = (num_images, *IMAGE_SHAPES[name])
  images = rng.integers(0, 256, shape, dtype=np.uint8)
  return types.Dataset(images, np.arange(num_images, dtype=np.int32) % 10)


def png(pixels):
  return encode(pixels, "PNG")


def encode(pixels, image_format, **options):
  """`[H, W, C]` uint8 as the bytes of a PNG or JPEG file."""
  file = io.BytesIO()
  array = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
  Image.fromarray(array).save(file, image_format, **options)
  return file.getvalue()


def make_tfds_folder(
  data_dir, name, *, train=None, test=None, encode_image=png, version=None, num_shards=1
):
  """Writes a prepared data set and returns its folder, data_dir/name/version.

  Args:
    data_dir: existing folder.
    name: "mnist" or "cifar10".
    train: `types.Dataset`; 240 images of noise by default.
    test: the same; 60.
    encode_image: `[H, W, C]` uint8 -> bytes.
    version: the real one by default.
    num_shards: files of the training split.
  """
  version = version or _VERSIONS[name]
  parts = {
    "train": train or random_dataset(name, 240, seed=0),
    "test": test or random_dataset(name, 60, seed=1),
  }
  folder = pathlib.Path(data_dir, name, version)
  folder.mkdir(parents=True)
  splits = []
  for split, dataset in parts.items():
    examples = [
      example(image=encode_image(image), label=int(label))
      for image, label in zip(*dataset, strict=True)
    ]
    shards = num_shards if split == "train" else 1
    cuts = [len(examples) * i // shards for i in range(shards + 1)]
    for i in range(shards):
      file_name = f"{name}-{split}.array_record-{i:05d}-of-{shards:05d}"
      write_records(folder / file_name, examples[cuts[i] : cuts[i + 1]])
    lengths = [str(length) for length in np.diff(cuts)]
    splits.append(
      {
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        "name": split,
        "numBytes": "1",
        "shardLengths": lengths,
      }
    )
  info = {
    "fileFormat": "array_record",
    "moduleName": "tests",
    "name": name,
    "splits": splits,
    "version": version,
  }
  (folder / "dataset_info.json").write_text(json.dumps(info))
  (folder / "features.json").write_text(json.dumps(_features(IMAGE_SHAPES[name])))
  return folder


def write_records(path, records):
  writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
  for record in records:
    writer.write(record)
  writer.close()


def example(**features):
  """A serialized tf.train.Example of bytes and whole numbers of at least 0."""
  entries = b""
  for name, value in features.items():
    if isinstance(value, bytes):
      feature = _field(1, _field(1, value))  # bytes_list, its one value.
    else:
      feature = _field(3, _field(1, _varint(value)))  # int64_list, packed.
    entries += _field(1, _field(1, name.encode()) + _field(2, feature))
  return _field(1, entries)


def _field(number, payload):
  """One field of protocol buffers with a length."""
  return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value):
  groups = []
  while value > 127:
    groups.append(value & 127 | 128)
    value >>= 7
  return bytes([*groups, value])


def _features(image_shape):
  core = "tensorflow_datasets.core.features."
  shape = {"dimensions": [str(size) for size in image_shape]}
  image = {"dtype": "uint8", "shape": shape}
  return {
    "featuresDict": {
      "features": {
        "image": {"image": image, "pythonClassName": core + "image_feature.Image"},
        "label": {
          "classLabel": {"numClasses": "10"},
          "pythonClassName": core + "class_label_feature.ClassLabel",
        },
      }
    },
    "pythonClassName": core + "features_dict.FeaturesDict",
  }
