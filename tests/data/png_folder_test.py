"""A poison as a folder of PNGs: back to the bit, and what is wrong with an edited one."""

import contextlib
import io
import json
import pathlib
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized
from PIL import Image

from pacd_jax import errors, types
from pacd_jax.data import png_folder, poison_command, poison_file
from pacd_jax.runtime import files


def _poison(channels=1):
  rng = np.random.default_rng(0)
  base = rng.integers(30, 200, (5, 6, 7, channels), dtype=np.uint8)
  images = base + rng.integers(0, 20, base.shape, dtype=np.uint8)
  images[4] = base[4]  # An image without a base is its own.
  return types.Poison(
    images=images,
    base_images=base,
    labels=np.array([8, 8, 3, 8, 8], np.int32),
    base_labels=np.full(5, 8, np.int32),
    indices=np.array([0, 7, 3, 9, -1], np.int64),
    inserted=np.array([0, 0, 0, 0, 1], bool),
    clean_label=False,
    epsilon=0.1,
    norm="linf",
    target_class=8,
    dataset="digits",
    sigma=0.25,
    checksum="abc",
  )


def _command(*arguments):
  out, said = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
    status = poison_command.main([str(each) for each in arguments])
  return status, out.getvalue(), said.getvalue()


class PngFolderTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), "png")

  def refused(self, message):
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      png_folder.load(self.folder)
    self.assertNotIn("\n", str(caught.exception))

  def edit(self, old, new):
    table = self.folder / "poison.csv"
    text = table.read_text()
    self.assertIn(old, text)
    table.write_text(text.replace(old, new))

  @parameterized.parameters(1, 3)
  def test_comes_back_to_the_bit(self, channels):
    poison = _poison(channels)
    png_folder.save(self.folder, poison)
    back = png_folder.load(self.folder)
    for name, one, other in zip(types.Poison._fields, poison, back, strict=True):
      np.testing.assert_array_equal(one, other, name)
    self.assertLen(list(self.folder.glob("images/*.png")), 5)

  def test_a_killed_export_is_done_again(self):
    write, left = files.write, 7

    def fail_at_last(*args):
      nonlocal left
      left -= 1
      if left == 0:
        raise KeyboardInterrupt
      write(*args)

    with (
      mock.patch.object(files, "write", fail_at_last),
      self.assertRaises(KeyboardInterrupt),
    ):
      png_folder.save(self.folder, _poison())
    self.assertFalse(self.folder.exists())
    png_folder.save(self.folder, _poison())
    png_folder.load(self.folder)
    self.assertEqual([each.name for each in self.folder.parent.iterdir()], ["png"])

  def test_an_image_may_be_edited(self):
    png_folder.save(self.folder, _poison())
    path = self.folder / "images" / "00001.png"
    edited = np.asarray(Image.open(path)) + np.uint8(1)
    Image.fromarray(edited).save(path)
    np.testing.assert_array_equal(png_folder.load(self.folder).images[1, ..., 0], edited)

  def test_what_is_wrong_is_named(self):
    self.refused("poison.json cannot be read")
    png_folder.save(self.folder, _poison())
    with self.assertRaisesRegex(errors.InputError, "is not empty: give a new folder"):
      png_folder.save(self.folder, _poison())
    path = self.folder / "images" / "00001.png"
    whole = path.read_bytes()
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(path)
    self.refused("images are 3x3x1 and 6x7x1: give them one size")
    Image.fromarray(np.zeros((6, 7, 4), np.uint8)).save(path)
    self.refused("00001.png is of mode RGBA: save it as 8-bit grey")
    path.write_bytes(whole[:40])
    self.refused("00001.png is no PNG, or damaged")
    path.unlink()
    self.refused("00001.png is missing: take its line out of poison.csv")
    Image.fromarray(np.full((6, 7), 255, np.uint8)).save(path)
    self.refused("an image is .* from its base, over its epsilon")

  @parameterized.parameters(
    ("00001.png,7,8", "00001.png,seven,8", "invalid literal .*: give whole numbers"),
    ("00001.png,7,8", "00001.png,0,8", "indices are not different positions"),
    ("file,base", "name,base", "lacks the column file: add it"),
  )
  def test_a_table_that_contradicts_itself(self, old, new, message):
    png_folder.save(self.folder, _poison())
    self.edit(old, new)
    self.refused(message)

  def test_a_folder_without_its_table(self):
    png_folder.save(self.folder, _poison())
    (self.folder / "poison.csv").unlink()
    self.refused("poison.csv is missing: give a folder that has this table")
    (self.folder / "poison.csv").write_text("file,base,index,label,base_label,inserted\n")
    self.refused("has no line: a poison needs an image")
    about = json.loads((self.folder / "poison.json").read_text())
    del about["epsilon"]
    (self.folder / "poison.json").write_text(json.dumps(about))
    self.refused("does not say epsilon, norm, .*KeyError")

  def test_the_command_goes_both_ways(self):
    file, back = self.folder.with_name("one.npz"), self.folder.with_name("back.npz")
    poison_file.save(file, _poison())
    self.assertEqual(_command("export", file, self.folder)[0], 0)
    status, out, _ = _command("import", self.folder, back)
    self.assertEqual((status, out), (0, f"5 images: {back}\n"))
    self.assertEqual(back.read_bytes(), file.read_bytes())
    for arguments, words in (
      (("import", self.folder, back), "is there already"),
      (("export", "nowhere.npz", self.folder), "no such poison"),
      (("export", file), "see pacd poison --help"),
    ):
      status, out, said = _command(*arguments)
      self.assertEqual((status, out), (2, ""))
      self.assertRegex(said, rf"\Aerror: .*{words}.*\n\Z")


if __name__ == "__main__":
  absltest.main()
