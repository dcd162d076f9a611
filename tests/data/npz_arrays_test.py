"""Arrays of .npz files are read to their ends."""

import io
import pathlib
import tempfile
import zipfile

import numpy as np
from absl.testing import absltest

from pacd_jax.data import npz_arrays


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
    with self.assertRaisesRegex(npz_arrays.DamagedError, message):
      npz_arrays.read(self.path, ["a"])

  def test_the_named_arrays_alone(self):
    np.savez_compressed(self.path, a=np.arange(3), b=np.float64(0.1), c=1)
    found = npz_arrays.read(self.path, ["a", "b", "d"])
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


if __name__ == "__main__":
  absltest.main()
