"""A run on images from a file: bound to the images, wherever the file is."""

import pathlib
import tempfile

import asked
import finished_run
import numpy as np
import pytest
from absl.testing import absltest

from pacd_jax import errors
from pacd_jax.experiment import door


def _config(path):
  return finished_run.smoke(
    **{
      "rows": ("clean", "classwise"),
      "data.name": "npz",
      "data.path": str(path),
      "data.target_class": 1,
      "train.batch_size": 10,
      "certify.num_points": 2,
    }
  )


class MovedDataTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.workdir, self.file = self.folder / "run", self.folder / "images.npz"
    self.write(self.file, seed=0)
    asked.run(_config(self.file), self.workdir, ("attack", "train"))

  def write(self, path, seed):
    images = np.random.default_rng(seed).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(60) % 2)

  @pytest.mark.long
  def test_a_run_goes_on_with_the_file_elsewhere(self):
    elsewhere = self.folder / "a folder" / "moved.npz"
    elsewhere.parent.mkdir()
    self.file.rename(elsewhere)
    table = asked.run(_config(elsewhere), self.workdir, ("certify", "report"))
    self.assertIn("classwise", table)
    with self.assertRaisesRegex(errors.InputError, "data.path=.*images.npz"):
      door.load(self.workdir)
    plan = door.load(self.workdir, path=str(elsewhere))
    self.assertEqual(plan.rows, ("clean", "classwise"))

  def test_other_images_are_another_run(self):
    self.write(self.file, seed=1)
    with self.assertRaisesRegex(errors.InputError, "another (training split|run)"):
      asked.run(_config(self.file), self.workdir, ("certify", "report"))


if __name__ == "__main__":
  absltest.main()
