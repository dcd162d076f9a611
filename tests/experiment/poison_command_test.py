"""`pacd poison`: there and back, and poisons of other programs with what a run adds."""

import contextlib
import io

import finished_run
import mixed_poison
import numpy as np
from absl.testing import absltest

from pacd_jax import types
from pacd_jax.data import poison_file
from pacd_jax.experiment import door, poison_command


def _command(*arguments):
  out, said = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
    status = poison_command.main([str(each) for each in arguments])
  return status, out.getvalue(), said.getvalue()


class CommandTest(finished_run.FinishedRunTestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.workdir.parent
    self.file, self.back = self.folder / "one.npz", self.folder / "back.npz"

  def refused(self, words, *arguments):
    status, out, said = _command(*arguments)
    self.assertEqual((status, out), (2, ""))
    self.assertRegex(said, rf"\Aerror: .*{words}.*\n\Z")
    self.assertFalse(self.back.exists())

  def test_there_and_back(self):
    poison_file.save(self.file, mixed_poison.make())
    for target in (self.folder / "png", self.folder / "other.npz"):
      self.assertEqual(_command("export", self.file, target)[0], 0)
      status, out, _ = _command("import", target, self.back)
      self.assertEqual((status, out), (0, f"5 images: {self.back}\n"))
      self.assertEqual(self.back.read_bytes(), self.file.read_bytes())
      self.back.unlink()

  def test_what_cannot_be_done(self):
    poison_file.save(self.file, mixed_poison.make())
    png = self.folder / "png"
    _command("export", self.file, png)
    self.refused("one.npz is there already", "import", png, self.file)
    self.refused("one.npz is there already", "export", self.file, self.file)
    self.refused("no such poison", "export", "nowhere.npz", png)
    self.refused("see pacd poison export --help", "export", self.file)
    self.refused("--run is for an .npz", "import", png, self.back, "--run=x")
    self.refused("x/config.json is no run's", "import", self.file, self.back, "--run=x")

  def test_a_plain_npz_of_another_program(self):
    plan = door.load(self.finished)
    train, indices = plan.splits.train, plan.poisoned[:4].astype(np.int32)
    arrays = {
      "images": np.where(train.images[indices] < 128, 9, 0) + train.images[indices],
      "labels": train.labels[indices].astype(np.uint8),
      "indices": indices,
    }
    arrays["images"] = arrays["images"].astype(np.uint8)
    np.savez(self.file, **arrays)
    self.refused(
      "one.npz: it has no field base_images: .*--run=FOLDER", "import", self.file, self.back
    )
    status, out, _ = _command("import", self.file, self.back, f"--run={self.finished}")
    self.assertEqual((status, out), (0, f"4 images: {self.back}\n"))
    poison = poison_file.load(self.back)
    identity = {"epsilon": 0.1, "norm": "linf", "target_class": 8, "dataset": "digits"}
    expected = types.Poison(
      **arrays,
      base_images=train.images[indices],
      base_labels=train.labels[indices],
      inserted=np.zeros(4, bool),
      clean_label=True,
      checksum=plan.training_sets.identity["checksum"],
      sigma=0.0,
      triggered=np.zeros(4, bool),
      goal=None,
      **identity,
    )
    for name, one, other in zip(types.Poison._fields, poison, expected, strict=True):
      np.testing.assert_array_equal(one, other, name)


if __name__ == "__main__":
  absltest.main()
