"""Your own images: what an .npz must hold, and one line for whatever it holds instead."""

import os
import pathlib
import pickle
import tempfile
import zipfile
from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.data import sources

_IMAGES = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
_LABELS = np.arange(12) % 3


class _Touch:
  """Makes a file when it is unpickled."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.mkdir, (self.path,)


class NpzTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.path = self.folder / "mine.npz"

  def _save(self, **arrays):
    np.savez(self.path, **({"images": _IMAGES, "labels": _LABELS} | arrays))

  def _message(self):
    with self.assertRaises(errors.InputError) as caught:
      sources.npz(self.path)
    message = str(caught.exception)
    self.assertNotIn("\n", message)
    self.assertIn(str(self.path), message)
    self.assertNotIn("allow_pickle", message)
    return message

  @parameterized.parameters(np.savez, np.savez_compressed)
  def test_images_and_labels(self, save):
    save(self.path, images=_IMAGES, labels=_LABELS, names=np.array(["a", "b"]))
    source = sources.npz(str(self.path))
    self.assertEqual((source.description, source.num_classes), ("mine.npz", 3))
    self.assertIsNone(source.test)
    np.testing.assert_array_equal(source.train.images, _IMAGES)
    np.testing.assert_array_equal(source.train.labels, _LABELS)
    self.assertEqual(source.train.labels.dtype, np.int32)

  def test_grey_images_have_one_channel(self):
    self._save(images=_IMAGES[..., 0])
    images = sources.npz(self.path).train.images
    np.testing.assert_array_equal(images, _IMAGES[..., :1])

  @parameterized.parameters(np.uint8, np.int16, np.uint64)
  def test_labels_of_any_integers(self, dtype):
    self._save(labels=_LABELS.astype(dtype))
    np.testing.assert_array_equal(sources.npz(self.path).train.labels, _LABELS)

  def test_a_standard_test_split(self):
    self._save(test_images=_IMAGES[5:2:-1], test_labels=_LABELS[5:2:-1])
    test = sources.npz(self.path).test
    np.testing.assert_array_equal(test.images, _IMAGES[5:2:-1])
    np.testing.assert_array_equal(test.labels, _LABELS[5:2:-1])

  @parameterized.named_parameters(
    ("float", {"images": _IMAGES / 255.0}, "float64, not uint8: .*rint.images . 255"),
    ("int64", {"images": _IMAGES.astype(int)}, "int64, not uint8"),
    ("flat", {"images": _IMAGES.reshape(12, -1)}, r"\(12, 90\): .*\[N, H, W, C\]"),
    ("five", {"images": _IMAGES[None]}, r"\(1, 12, 6, 5, 3\): it must be"),
    ("none", {"images": _IMAGES[:0], "labels": _LABELS[:0]}, "images are empty"),
    ("two_channels", {"images": _IMAGES[..., :2]}, r"\(12, 6, 5, 2\) have 2 channels"),
    ("no_pixels", {"images": _IMAGES[:, :0]}, r"empty, of shape \(12, 0, 5, 3\)"),
    (
      "channels_first",
      {"images": _IMAGES.transpose(0, 3, 1, 2)},
      r"look like \[N, C, H, W\]: save images.transpose\(0, 2, 3, 1\)",
    ),
    ("float_labels", {"labels": _LABELS.astype(float)}, "labels are float64"),
    ("bool_labels", {"labels": _LABELS > 0}, "labels are bool"),
    ("one_hot_labels", {"labels": np.eye(3, dtype=int)[_LABELS]}, r"of shape \(12, 3\)"),
    ("fewer_labels", {"labels": _LABELS[1:]}, "12 images but 11 labels"),
    ("negative_labels", {"labels": _LABELS - 1}, "labels are from -1 to 1: number"),
    ("huge_labels", {"labels": np.uint64(2**63) + _LABELS.astype(np.uint64)}, "are from"),
    ("from_one", {"labels": _LABELS + 1}, "go up to 3 but none is 0"),
    ("with_a_gap", {"labels": _LABELS * 2}, "go up to 4 but none is 1"),
    ("one_class", {"labels": _LABELS * 0}, "all labels are 0: two classes"),
    ("objects", {"images": np.array([1, "a"], object)}, "images holds Python objects"),
    ("texts", {"labels": np.array(["cat"] * 12)}, "labels are <U3"),
    ("test_labels_alone", {"test_labels": _LABELS}, "has test_labels but no test_images"),
    ("test_images_alone", {"test_images": _IMAGES}, "has test_images but no test_labels"),
    (
      "float_test",
      {"test_images": _IMAGES / 255.0, "test_labels": _LABELS},
      "test_images are float64",
    ),
    (
      "another_shape",
      {"test_images": _IMAGES[:, :5], "test_labels": _LABELS},
      r"images are \(6, 5, 3\) but test_images \(5, 5, 3\)",
    ),
    (
      "a_new_class",
      {"test_images": _IMAGES, "test_labels": _LABELS + 1},
      "test_labels hold class 3, which labels lack",
    ),
  )
  def test_other_arrays_are_refused(self, arrays, reason):
    self._save(**arrays)
    self.assertRegex(self._message(), reason)

  def test_missing_arrays_are_named_with_what_is_there(self):
    np.savez(self.path, x=_IMAGES, labels=_LABELS)
    self.assertRegex(self._message(), r"no array images, but x, labels: .*numpy.savez\(")
    np.savez(self.path)
    self.assertRegex(self._message(), "no array images, but nothing")

  @parameterized.parameters(None, "")
  def test_a_path_is_needed(self, path):
    with self.assertRaisesRegex(errors.InputError, "set data.path to an .npz"):
      sources.npz(path)

  def test_what_cannot_be_opened(self):
    self.assertRegex(self._message(), "data.path=.*: No such file or directory")
    self.path.mkdir()
    self.assertRegex(self._message(), "data.path=.*: Is a directory")

  @parameterized.named_parameters(
    ("empty", b""),
    ("text", b"images,labels\n1,2\n"),
    ("zip_of_nothing_sound", b"PK\x03\x04" + bytes(200)),
    ("pickle", pickle.dumps({"images": 1})),
  )
  def test_files_that_are_no_npz(self, content):
    self.path.write_bytes(content)
    self.assertRegex(self._message(), "no .npz file, or a damaged one .*: make it with ")

  def test_more_than_the_memory_holds(self):
    np.savez(self.path, images=_IMAGES, labels=_LABELS)
    self.enter_context(
      mock.patch.object(np.lib.format, "read_array", side_effect=MemoryError)
    )
    self.assertRegex(self._message(), "arrays do not fit in this machine's memory")

  def test_one_array_is_no_npz(self):
    with open(self.path, "wb") as file:
      np.save(file, _IMAGES)
    self.assertRegex(self._message(), "no .npz file")

  @parameterized.parameters(np.savez, np.savez_compressed)
  def test_a_cut_or_flipped_file_is_damaged(self, save):
    save(self.path, images=_IMAGES, labels=_LABELS)
    content = self.path.read_bytes()
    for length in range(0, len(content), 97):
      self.path.write_bytes(content[:length])
      self.assertRegex(self._message(), "no .npz file, or a damaged one")
    flipped = bytearray(content)
    flipped[400] ^= 0x11  # Within the images.
    self.path.write_bytes(flipped)
    self.assertRegex(self._message(), "no .npz file, or a damaged one")

  def test_a_member_that_is_no_array(self):
    with zipfile.ZipFile(self.path, "w") as file:
      file.writestr("images", b"not an array")
      file.writestr("labels", b"1 2 3")
    self.assertRegex(self._message(), "no array images, but nothing")

  def test_nothing_is_unpickled(self):
    trace = self.folder / "trace"
    self._save(images=np.array([_Touch(str(trace))], object))
    self.assertIn("Python objects", self._message())
    self.path.write_bytes(pickle.dumps(_Touch(str(trace))))
    self._message()
    self.assertFalse(trace.exists())


if __name__ == "__main__":
  absltest.main()
