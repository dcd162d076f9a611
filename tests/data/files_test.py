"""Arrays of .npz files are read to their ends, and paths are a file system's."""

import io
import pathlib
import tempfile
import zipfile

import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.data import files


class NpzTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.path = pathlib.Path(folder, "arrays.npz")

  def _members(self, *members):
    with zipfile.ZipFile(self.path, "w") as archive:
      for name, contents in members:
        archive.writestr(name, contents)

  def _npy(self, array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()

  def _refuses(self, message):
    with self.assertRaisesRegex(files.DamagedError, message):
      files.read_npz(self.path, ["a"])

  def test_the_named_arrays_alone(self):
    np.savez_compressed(self.path, a=np.arange(3), b=np.float64(0.1), c=1)
    found = files.read_npz(self.path, ["a", "b", "d"])
    self.assertEqual({*found}, {"a", "b"})
    np.testing.assert_array_equal(found["a"], np.arange(3))
    self.assertEqual(found["b"].shape, ())

  def test_a_shape_that_says_less_than_there_is(self):
    """NumPy reads the two numbers, and never comes to the checksum at the end."""
    changed = self._npy(np.arange(3)).replace(b"(3,)", b"(2,)")
    self._members(("a.npy", changed))
    self.assertLen(np.load(self.path)["a"], 2)
    self._refuses("a is longer than its shape")

  def test_a_shape_that_says_far_more_than_there_is(self):
    header = self._npy(np.arange(3))
    self._members(("a.npy", header.replace(b"(3,), }        ", b"(9999999999999,), }")))
    self._refuses("ValueError|memory")

  def test_an_array_that_is_there_twice(self):
    with self.assertWarns(UserWarning):
      self._members(("a.npy", self._npy(np.zeros(1))), ("a.npy", self._npy(np.ones(1))))
    self._refuses("an array is there twice")


class UserPathTest(parameterized.TestCase):
  @parameterized.parameters("a\0b", "\ud800", "~nobody_of_this_name/x", "a" * 5000)
  def test_what_no_file_can_be_called(self, path):
    with self.assertRaisesRegex(errors.InputError, "is no path|cannot be read"):
      files.user_path(path)

  def test_home_and_what_is_not_there(self):
    self.assertEqual(files.user_path("~"), pathlib.Path.home())
    self.assertEqual(files.user_path("/nowhere/x"), pathlib.Path("/nowhere/x"))


if __name__ == "__main__":
  absltest.main()
