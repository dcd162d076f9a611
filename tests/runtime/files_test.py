"""Files on a full disk: the error names them, and what was there stays."""

import errno
import io
import pathlib
import tempfile

import full_disk
import pytest
from absl.testing import absltest, parameterized
from matplotlib.figure import Figure

from pacd_jax import errors
from pacd_jax.results import figures
from pacd_jax.runtime import files, metrics, run_folder, tensorboard

_TEXT = "line\n" * 4000
_WRITERS = {
  "bytes": lambda path: files.write(path, _TEXT.encode()),
  "text": lambda path: files.write_text(path, _TEXT),
  "json": lambda path: run_folder.write_json(path, {"text": _TEXT}),
  "picture": lambda path, save=figures.save: save(Figure(), path),  # conftest.py's is not.
}


class FilesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def fails(self, path, call):
    name = path.name  # Or of a folder beside it.
    with full_disk.room_for(100), self.assertRaises(OSError) as caught:
      call()
    words = files.in_words(caught.exception)
    self.assertRegex(words, rf"^{path.parent}/\.?{name}.*: File too large: allow .*")
    self.assertEndsWith(words, ", and the same command goes on")

  @parameterized.parameters(*_WRITERS)
  def test_a_file_is_whole_or_as_it_was(self, name):
    path, write = self.folder / "some" / "file", _WRITERS[name]
    self.fails(path, lambda: write(path))
    self.assertEmpty(list(path.parent.iterdir()))
    path.write_text("before")
    self.fails(path, lambda: write(path))
    self.assertEqual([each.read_text() for each in path.parent.iterdir()], ["before"])
    write(path)
    self.assertGreater(len(path.read_bytes()), 100)

  def test_a_folder_is_whole_or_not_there(self):
    path = self.folder / "new"

    def write():
      with files.new_folder(path) as beside:
        files.write_text(beside / "short", "text")
        files.write_text(beside / "long", _TEXT)

    self.fails(path, write)
    self.assertEmpty(list(self.folder.iterdir()))
    write()
    self.assertEqual((path / "long").read_text(), _TEXT)

  def test_metrics(self):
    path = self.folder / "metrics.jsonl"
    file = metrics.MetricsFile(path)
    self.fails(path, lambda: [file.write("train", step, {"a": 1.0}) for step in range(9)])
    self.assertNotEmpty(path.read_bytes().rpartition(b"\n")[2])  # A line was cut short.
    file.rewind("train", 9)
    self.assertNotEmpty(path.read_text())
    self.assertTrue(path.read_text().endswith("\n"))

  @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
  def test_events(self):
    events = tensorboard.Events(self.folder)

    def write():
      events.begin("train", [])
      for step in range(99):
        events.write({"stage": "train", "step": step, "a": 1.0})

    self.fails(self.folder, write)

  @parameterized.parameters(
    (errno.ENOSPC, "make room there"),
    (errno.EROFS, "make it writable"),
    (errno.EACCES, "make it writable"),
    (errno.EIO, "see to its file system"),
  )
  def test_words(self, number, remedy):
    with self.assertRaises(OSError) as caught, files.naming(self.folder / "x"):
      raise OSError(number, "Reason")
    self.assertEqual(
      files.in_words(caught.exception),
      f"{self.folder / 'x'}: Reason: {remedy}, and the same command goes on",
    )

  @parameterized.parameters(
    OSError(errno.ENOENT, "No such file", "x"),
    OSError(errno.ENOSPC, "No file is named"),
    io.UnsupportedOperation("not writable"),
    ValueError("x"),
  )
  def test_other_errors_are_none_of_a_file_system(self, error):
    with self.assertRaises(type(error)) as caught:
      raise error
    self.assertEmpty(files.in_words(caught.exception))


class OutFolderTest(parameterized.TestCase):
  def test_new_empty_or_ours(self):
    with tempfile.TemporaryDirectory() as temporary:
      folder = pathlib.Path(temporary, "out")
      self.assertEqual(files.out_folder(str(folder), lambda path: False), folder)
      folder.mkdir()
      files.out_folder(folder, lambda path: False)
      (folder / "file").write_text("mine")
      files.out_folder(folder, lambda path: (path / "file").exists())
      for given, words in (
        (folder, f"{folder} is there, and of something else: give another --out"),
        (folder / "file", "file is there, and of something else"),
        (folder / "no" / "out", "no is no folder that can be written to: make it"),
      ):
        with self.assertRaisesRegex(errors.InputError, words):
          files.out_folder(given, lambda path: False)


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
