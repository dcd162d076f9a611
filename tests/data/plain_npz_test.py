"""A poison of another program: what a run adds, and what cannot be used."""

import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors, types
from pacd_jax.data import arrays, plain_npz

_rng = np.random.default_rng(0)
_TRAIN = types.Dataset(
  _rng.integers(30, 200, (10, 6, 7, 1), dtype=np.uint8), np.arange(10, dtype=np.int32) % 5
)
_IDENTITY = {
  "epsilon": 0.1,
  "norm": "linf",
  "target_class": 3,
  "dataset": "mine",
  "sigma": 0.0,
  "checksum": arrays.checksum(_TRAIN),
}


def _arrays(**changes):
  indices = np.array([3, 8])
  plain = {
    "images": _TRAIN.images[indices] + np.uint8(20),
    "labels": _TRAIN.labels[indices],
  }
  return plain | {"indices": indices} | changes


class PlainNpzTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.path = pathlib.Path(folder, "theirs.npz")

  def load(self):
    return plain_npz.load(self.path, _TRAIN, _IDENTITY)

  def refused(self, message):
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      self.load()
    self.assertNotIn("\n", str(caught.exception))

  def test_inserted_images_and_other_labels(self):
    images, labels = _arrays()["images"], np.array([3, 1])
    inserted, indices = np.array([False, True]), np.array([3, -1])
    np.savez(self.path, images=images, labels=labels, indices=indices, inserted=inserted)
    poison = self.load()
    np.testing.assert_array_equal(poison.base_images, [_TRAIN.images[3], images[1]])
    np.testing.assert_array_equal(poison.base_labels, [3, 1])
    np.testing.assert_array_equal(poison.inserted, inserted)
    self.assertTrue(poison.clean_label)
    np.savez(self.path, **_arrays(labels=np.array([3, 1])))
    self.assertFalse(self.load().clean_label)

  @parameterized.named_parameters(
    ("sizes", {"images": np.zeros((2, 8, 8, 1), np.uint8)}, "must be .* of 6x7x1, as the"),
    (
      "no_channel",
      {"images": np.zeros((2, 6, 7), np.uint8)},
      r"shape \(2, 6, 7\), and",
    ),
    (
      "floats",
      {"images": np.zeros((2, 6, 7, 1))},
      "images are float64, not uint8: if",
    ),
    ("budget", {"images": np.full((2, 6, 7, 1), 255, np.uint8)}, "over its epsilon 0.1"),
    ("count", {"labels": np.array([3])}, r"labels are int64 of shape \(1,\): give a whole"),
    ("words", {"labels": np.array(["3", "3"])}, "labels are <U1 of shape"),
    ("label", {"labels": np.array([3, 7])}, "theirs.npz: .*label 7"),
    ("no_class", {"labels": np.array([3, -1])}, "label -1 is no class"),
    ("no_number", {"labels": np.array([3, 2**32])}, "label 4294967296 is no class"),
    ("index", {"indices": np.array([3, 10])}, "index 10 is no position .* has 10 images"),
    ("twice", {"indices": np.array([3, 3])}, "indices are not different positions"),
    ("none", {"indices": np.array([], int)}, r"indices are int64 of shape \(0,\)"),
    ("one_number", {"indices": np.array(3)}, r"indices are int64 of shape \(\)"),
    ("inserted", {"inserted": np.array([0, 1])}, "inserted are not true or false"),
    ("objects", {"labels": np.array([3, None])}, "labels holds Python objects"),
  )
  def test_what_is_wrong_is_named(self, changes, message):
    np.savez(self.path, **_arrays(**changes))
    self.refused(message)

  def test_files_that_cannot_be_read(self):
    self.refused("theirs.npz cannot be read: No such file")
    np.savez(self.path, images=_arrays()["images"], labels=_arrays()["labels"])
    self.refused("has no array indices: save images, labels, indices by numpy.savez")
    self.path.write_bytes(self.path.read_bytes()[:-30])
    self.refused("is no .npz of numbers, or damaged")
    np.save(self.path.with_suffix(".npy"), _arrays()["images"])
    self.path.with_suffix(".npy").rename(self.path)
    self.refused("is no .npz of numbers, or damaged")


if __name__ == "__main__":
  absltest.main()
