"""MNIST and CIFAR-10 from folders that the tests write; damage of every kind."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

import fake_tfds
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors, types
from pacd_jax.data import tfds_folder

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _edit(file_name, *changes):
  """Sets (path, value) pairs in one of a folder's JSON files."""

  def edit(folder):
    path = folder / file_name
    content = json.loads(path.read_text())
    for keys, value in changes:
      inner = content
      for key in keys[:-1]:
        inner = inner[key]
      inner[keys[-1]] = value
    path.write_text(json.dumps(content))

  return edit


def _shard(folder, split="test"):
  (path,) = folder.glob(f"*-{split}.array_record*")
  return path


def _cut(folder):
  content = _shard(folder).read_bytes()
  _shard(folder).write_bytes(content[: len(content) // 2])


def _flip(folder):
  """Two bits within the images."""
  content = bytearray(_shard(folder, "train").read_bytes())
  content[30_000] ^= 0x11
  _shard(folder, "train").write_bytes(content)


def _with_record(**features):
  """Sixty records with one that is not like the others."""

  def write(folder):
    image = fake_tfds.png(np.zeros((28, 28, 1), np.uint8))
    good = fake_tfds.example(image=image, label=0)
    other = fake_tfds.example(**({"image": image, "label": 0} | features))
    fake_tfds.write_records(_shard(folder), [good] * 20 + [other] + [good] * 39)

  return write


_INFO, _FEATURES = "dataset_info.json", "features.json"
_METADATA = "dataset_info.json or features.json"
_IN_FEATURES = ("featuresDict", "features")
_WIDE = np.zeros((28, 29, 1), np.uint8)
_COLOUR = np.zeros((28, 28, 3), np.uint8)
_NOISE = fake_tfds.random_dataset("mnist", 1).images[0]

_DAMAGES = (
  ("no_info", lambda folder: (folder / _INFO).unlink(), _METADATA),
  ("empty_info", lambda folder: (folder / _INFO).write_text(""), f"{_METADATA}: .*JSON"),
  ("half_an_info", lambda folder: (folder / _INFO).write_text('{"name": "mn'), _METADATA),
  ("another_info", lambda folder: (folder / _INFO).write_text("{}"), "version"),
  ("no_features", lambda folder: (folder / _FEATURES).unlink(), _METADATA),
  ("half_features", lambda folder: (folder / _FEATURES).write_text("{"), _METADATA),
  ("no_shard", lambda folder: _shard(folder).unlink(), "mnist-test.* is missing"),
  ("empty_shard", lambda folder: _shard(folder).write_bytes(b""), "test.* is damaged"),
  ("half_a_shard", _cut, "mnist-test.* is damaged"),
  ("flipped_bits", _flip, "records of train are damaged"),
  (
    "more_records_than_told",
    _edit(_INFO, (("splits", 0, "shardLengths"), ["239"])),
    "train.* has 240 records, not 239",
  ),
  (
    "fewer_records_than_told",
    _edit(_INFO, (("splits", 1, "shardLengths"), ["61"])),
    "test.* has 60 records, not 61",
  ),
  ("no_test_split", _edit(_INFO, (("splits", 1, "name"), "dev")), "no test images"),
  ("no_images", _edit(_INFO, (("splits", 0, "shardLengths"), [])), "no train images"),
  ("another_name", _edit(_INFO, (("name",), "kmnist")), "it holds kmnist"),
  ("tfrecord", _edit(_INFO, (("fileFormat",), "tfrecord")), "stored as tfrecord"),
  (
    "another_shape",
    _edit(
      _FEATURES,
      ((*_IN_FEATURES, "image", "image", "shape", "dimensions"), ["32", "32", "1"]),
    ),
    r"uint8 \(32, 32, 1\), not uint8 \(28, 28, 1\)",
  ),
  (
    "another_dtype",
    _edit(_FEATURES, ((*_IN_FEATURES, "image", "image", "dtype"), "uint16")),
    "uint16 .* not uint8",
  ),
  (
    "other_classes",
    _edit(_FEATURES, ((*_IN_FEATURES, "label", "classLabel", "numClasses"), "62")),
    "62 classes, not 10",
  ),
  ("no_label_feature", _edit(_FEATURES, (_IN_FEATURES, {})), "no image"),
  ("a_label_of_ten", _with_record(label=10), "labels of test are from 0 to 10"),
  ("a_text_for_a_label", _with_record(label=b"seven"), "feature label"),
  ("no_image_file", _with_record(image=b"0123456789"), "image 20 of test is damaged"),
  (
    "half_an_image",
    _with_record(image=fake_tfds.png(_NOISE)[:400]),
    "image 20 of test is damaged",
  ),
  ("a_wide_image", _with_record(image=fake_tfds.png(_WIDE)), "20 of test is L of 28 x 29"),
  ("a_colour_image", _with_record(image=fake_tfds.png(_COLOUR)), "is RGB of 28 x 28"),
)


class TfdsFolderTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.data_dir = self.enterContext(tempfile.TemporaryDirectory())

  def _message(self, name="mnist", data_dir=None):
    with self.assertRaises(errors.InputError) as caught:
      tfds_folder.load(name, data_dir or self.data_dir)
    self.assertNotIn("\n", str(caught.exception))
    return str(caught.exception)

  @parameterized.product(name=("mnist", "cifar10"), num_shards=(1, 3))
  def test_lossless_images_come_back_in_their_order(self, name, num_shards):
    train, test = (fake_tfds.random_dataset(name, 50, seed=seed) for seed in (5, 6))
    fake_tfds.make_tfds_folder(
      self.data_dir, name, train=train, test=test, num_shards=num_shards
    )
    source = tfds_folder.load(name, self.data_dir)
    self.assertEqual(source.num_classes, 10)
    for read, written in ((source.train, train), (source.test, test)):
      np.testing.assert_array_equal(read.images, written.images)
      np.testing.assert_array_equal(read.labels, written.labels)
      self.assertEqual((read.images.dtype, read.labels.dtype), (np.uint8, np.int32))

  @parameterized.named_parameters(
    ("png", "cifar10", [{"image_format": "PNG"}], "CIFAR-10"),
    ("jpeg", "cifar10", [{"image_format": "JPEG"}], "CIFAR-10 (JPEG-75)"),
    ("grey", "mnist", [{"image_format": "JPEG", "quality": 40}], "MNIST (JPEG-40)"),
    (
      "best",
      "cifar10",
      [{"image_format": "JPEG", "quality": 100, "subsampling": 0}],
      "CIFAR-10 (JPEG-100)",
    ),
    (
      "tables_of_its_own",
      "cifar10",
      [{"image_format": "JPEG", "qtables": [[7] * 64, [9] * 64]}],
      "CIFAR-10 (JPEG)",
    ),
    (
      "mixed",
      "mnist",
      [{"image_format": "PNG"}, {"image_format": "JPEG"}],
      "MNIST (partly JPEG-75)",
    ),
    (
      "two_qualities",
      "mnist",
      [{"image_format": "JPEG", "quality": quality} for quality in (90, 75)],
      "MNIST (JPEG-75 or JPEG-90)",
    ),
  )
  def test_the_description_tells_what_storing_lost(self, name, options, expected):
    made = []

    def encode_image(pixels):
      made.append(fake_tfds.encode(pixels, **options[len(made) % len(options)]))
      return made[-1]

    fake_tfds.make_tfds_folder(self.data_dir, name, encode_image=encode_image)
    known = tfds_folder._KNOWN[name]._replace(num_images=(240, 60))
    with mock.patch.dict(tfds_folder._KNOWN, {name: known}):
      self.assertEqual(tfds_folder.load(name, self.data_dir).description, expected)

  def test_the_description_tells_of_other_numbers_of_images(self):
    fake_tfds.make_tfds_folder(self.data_dir, "mnist")
    source = tfds_folder.load("mnist", self.data_dir)
    self.assertEqual(source.description, "MNIST (240 + 60 images)")

  def test_the_newest_version_is_read(self):
    versions = {"3.0.1": 1, "10.0.0": 7, "9.9.9": 3}
    for version, pixel in versions.items():
      dataset = types.Dataset(
        np.full((10, 28, 28, 1), pixel, np.uint8), np.arange(10, dtype=np.int32)
      )
      fake_tfds.make_tfds_folder(self.data_dir, "mnist", train=dataset, version=version)
    pathlib.Path(self.data_dir, "mnist", "incomplete.X_11.0.0").mkdir()
    self.assertEqual(tfds_folder.load("mnist", self.data_dir).train.images[0, 0, 0, 0], 7)

  @parameterized.parameters(None, "")
  def test_the_default_folder_is_that_of_tfds(self, data_dir):
    fake_tfds.make_tfds_folder(self.data_dir, "mnist")
    with mock.patch.dict(os.environ, TFDS_DATA_DIR=self.data_dir):
      self.assertLen(tfds_folder.load("mnist", data_dir).test.labels, 60)
    with mock.patch.dict(os.environ, HOME="/nowhere"):
      os.environ.pop("TFDS_DATA_DIR", None)
      self.assertEqual(str(tfds_folder.root(data_dir)), "/nowhere/tensorflow_datasets")

  def test_a_missing_data_set_is_one_line_with_the_command(self):
    fake_tfds.make_tfds_folder(self.data_dir, "mnist")
    self.assertEqual(
      self._message("cifar10"),
      f"{self.data_dir}/cifar10: CIFAR-10 is not prepared there: run "
      f"pacd prepare cifar10 --data_dir={self.data_dir}",
    )
    self.assertIn("--data_dir='/no such/place'", self._message(data_dir="/no such/place"))

  def test_an_interrupted_preparation_is_a_missing_data_set(self):
    pathlib.Path(self.data_dir, "mnist", "incomplete.AB12CD_3.0.1").mkdir(parents=True)
    self.assertIn("MNIST is not prepared there", self._message())

  @parameterized.named_parameters(*_DAMAGES)
  def test_damage_is_one_line_with_the_remedy(self, damage, reason):
    folder = fake_tfds.make_tfds_folder(self.data_dir, "mnist")
    damage(folder)
    message = self._message()
    self.assertStartsWith(message, f"{folder}: cannot be used (")
    self.assertRegex(message, reason)
    self.assertEndsWith(
      message,
      "): delete it, or take another data_dir, and run "
      f"pacd prepare mnist --data_dir={self.data_dir}",
    )

  @parameterized.parameters("tensorflow_datasets", "array_record.python")
  def test_a_missing_library_is_one_line(self, module):
    fake_tfds.make_tfds_folder(self.data_dir, "mnist")
    package = module.partition(".")[0]
    with mock.patch.dict(sys.modules, {module: None}):
      self.assertEndsWith(
        self._message(), f"=mnist needs the package {package}: pip install {package}"
      )

  def test_it_reads_without_tensorflow_network_or_a_word(self):
    fake_tfds.make_tfds_folder(self.data_dir, "cifar10")
    program = f"""
import socket, sys
def refuse(*arguments, **options): raise AssertionError("the network was asked")
socket.getaddrinfo = socket.socket.connect = refuse
from pacd_jax.data import tfds_folder
tfds_folder.load("cifar10", {self.data_dir!r})
assert "tensorflow" not in sys.modules
"""
    done = subprocess.run(
      [sys.executable, "-W", "error", "-c", program],
      cwd=_ROOT,
      capture_output=True,
      text=True,
    )
    self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))


if __name__ == "__main__":
  absltest.main()
