"""A file and the JSON beside it: neither is exchanged unnoticed."""

import json
import pathlib
import tempfile

from absl.testing import absltest

from pacd_jax import errors
from pacd_jax.experiment import bound_file


class BoundFileTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.path, self.beside = folder / "new" / "pacd.npz", folder / "new" / "pacd.json"
    bound_file.write(self.path, b"images", "this run", {"attack_seconds": 1.5})

  def refuses(self, message):
    with self.assertRaisesRegex(errors.InputError, f"{message}.*: make it again"):
      bound_file.check(self.path, "this run", "make it again")

  def test_as_written(self):
    self.assertEqual(self.path.read_bytes(), b"images")
    self.assertEqual(json.loads(self.beside.read_text())["attack_seconds"], 1.5)
    bound_file.check(self.path, "this run", "")

  def test_another_file(self):
    self.path.write_bytes(b"other images")
    self.refuses("pacd.npz is not the file that pacd.json is about")

  def test_both_of_another_run(self):
    bound_file.write(self.path, b"other images", "another run")
    self.refuses("pacd.json is of another run")
    bound_file.check(self.path, None, "")

  def test_an_earlier_versions_is_not_checked(self):
    self.beside.write_text('{"attack_seconds": 1.5}')
    bound_file.check(self.path, "this run", "")
    self.beside.unlink()
    bound_file.check(self.path, "this run", "")


if __name__ == "__main__":
  absltest.main()
