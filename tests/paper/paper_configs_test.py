"""The paper's configs, from data in TFDS's format to the report, at the smallest size."""

import pathlib
import tempfile

import asked
import fake_tfds
import numpy as np
import pytest
from absl.testing import absltest

from configs import mnist_ga
from pacd_jax.experiment.entries import data_sets


class PaperConfigsTest(absltest.TestCase):
  @pytest.mark.long
  def test_mnist_smoke(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    parts = {"train": 1500, "test": 100}
    fake_tfds.make_tfds_folder(
      folder,
      "mnist",
      **{name: fake_tfds.random_dataset("mnist", size) for name, size in parts.items()},
    )
    config = mnist_ga.get_config("smoke,certify.mode=adaptive")
    config.data.data_dir = str(folder)
    config.model.name = "mlp"  # Compiles in a third of the CNN's time.
    table = asked.run(config, folder / "run")
    self.assertRegex(table, r"MNIST \(1,500 \+ 100 images\), 600 training\s+images")
    self.assertRegex(table, r"mlp.*\n(.*\n)*adaptive sampling: n0 100, n at most 200")
    splits = data_sets.load("mnist", seed=0, data_dir=str(folder), num_train=600)
    with np.load(folder / "run" / "poison" / "pacd.npz") as poison:
      where = np.flatnonzero(splits.train.labels == 8)
      np.testing.assert_array_equal(poison["indices"], where)
      np.testing.assert_array_equal(poison["base_images"], splits.train.images[where])


if __name__ == "__main__":
  absltest.main()
