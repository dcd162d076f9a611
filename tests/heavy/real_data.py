"""The real MNIST and CIFAR-10, and a short attack on each: `make test-data DATA_DIR=...`.

Plain `pytest` does not collect this file. PACD_DATA_DIR names the folder of the prepared
data sets; without it they are where TFDS has them by default.
"""

import functools
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax.data import arrays, tfds_folder
from pacd_jax.experiment.entries import data_sets

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_DATA_DIR = os.path.abspath(os.environ.get("PACD_DATA_DIR") or tfds_folder.root(None))
_SIZES = {"mnist": (55_000, 5_000, 10_000), "cifar10": (45_000, 5_000, 10_000)}
_SHAPES = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3)}
# Images of each class: of MNIST as published, of CIFAR-10 all alike.
_TRAIN_COUNTS = {
  "mnist": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
  "cifar10": [5000] * 10,
}
_TEST_COUNTS = {
  "mnist": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
  "cifar10": [1000] * 10,
}
# Of all training pixels in [0, 1], by channel, as usually quoted.
_MEANS = {"mnist": [0.1307], "cifar10": [0.4914, 0.4822, 0.4465]}
_STDS = {"mnist": [0.3081], "cifar10": [0.2470, 0.2435, 0.2616]}
# JPEG at quality 75 smooths CIFAR-10: its deviations fall by up to 0.0018.
_TOLERANCE = {"mnist": 5e-5, "cifar10": 2e-3}


@functools.cache
def _load(name, seed=0):
  return data_sets.load(name, seed=seed, data_dir=_DATA_DIR)


class RealDataTest(parameterized.TestCase):
  @parameterized.parameters("mnist", "cifar10")
  def test_sizes_and_types(self, name):
    splits = _load(name)
    self.assertEqual((splits.name, splits.num_classes), (name, 10))
    for part, size in zip(splits[2:5], _SIZES[name], strict=True):
      self.assertEqual(part.images.shape, (size, *_SHAPES[name]))
      self.assertEqual(part.labels.shape, (size,))
      self.assertEqual((part.images.dtype, part.labels.dtype), (np.uint8, np.int32))

  @parameterized.parameters("mnist", "cifar10")
  def test_classes(self, name):
    train, validation, test = (np.bincount(part.labels) for part in _load(name)[2:5])
    np.testing.assert_array_equal(train + validation, _TRAIN_COUNTS[name])
    np.testing.assert_array_equal(test, _TEST_COUNTS[name])
    share = np.array(_TRAIN_COUNTS[name]) * 5000 / sum(_TRAIN_COUNTS[name])
    np.testing.assert_allclose(validation, share, atol=1)

  @parameterized.parameters("mnist", "cifar10")
  def test_pixels(self, name):
    splits = _load(name)
    images = np.concatenate([splits.train.images, splits.validation.images])
    means, stds = images.mean(axis=(0, 1, 2)) / 255, images.std(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(means, _MEANS[name], atol=_TOLERANCE[name])
    np.testing.assert_allclose(stds, _STDS[name], atol=_TOLERANCE[name])

  def test_mnist_is_in_the_order_of_tfds(self):
    """Not the published 7, 2, 1, 0, 4: TFDS shuffles when it prepares, always alike."""
    self.assertEqual(_load("mnist").test.labels[:8].tolist(), [2, 0, 4, 8, 7, 6, 0, 6])

  def test_descriptions(self):
    self.assertEqual(_load("mnist").description, "MNIST")
    self.assertIn(_load("cifar10").description, ("CIFAR-10", "CIFAR-10 (JPEG-75)"))

  def test_a_seed_draws_validation_and_leaves_test(self):
    one, other = _load("mnist"), _load("mnist", seed=1)
    np.testing.assert_array_equal(one.test.images, other.test.images)
    self.assertNotEqual(arrays.checksum(one.train), arrays.checksum(other.train))

  @parameterized.parameters("mnist", "cifar10")
  def test_a_short_attack(self, name):
    """Every stage of the smoke variant, from the command line."""
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    command = [sys.executable, "main.py", f"--config=configs/{name}_ga.py:smoke"]
    command += [f"--config.data.data_dir={_DATA_DIR}", f"--workdir={workdir}"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    self.assertEqual(done.returncode, 0, done.stderr)
    results = json.loads((workdir / "results.json").read_text())
    self.assertEqual(results["dataset"], name)
    rows = {row["data"]: row for row in results["rows"]}
    self.assertContainsSubset({"clean", "pacd"}, rows)
    for row in rows.values():
      self.assertTrue(all(math.isfinite(value) for value in row["acr"]))
    page = (workdir / "report" / "index.html").read_text()
    self.assertIn(_load(name).description, page)


if __name__ == "__main__":
  absltest.main()
