"""A poison as a folder of PNGs: back to the bit, and what is wrong with an edited one."""

import json
import pathlib
import tempfile
from unittest import mock

import mixed_poison
import numpy as np
from absl.testing import absltest, parameterized
from PIL import Image

from pacd_jax import errors, types
from pacd_jax.data import png_folder
from pacd_jax.runtime import files


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
    poison = mixed_poison.make(channels)
    png_folder.save(self.folder, poison)
    back = png_folder.load(self.folder)
    self.assertEqual(poison.goal, back.goal)
    alike = poison._replace(goal=None), back._replace(goal=None)
    for name, one, other in zip(types.Poison._fields, *alike, strict=True):
      np.testing.assert_array_equal(one, other, name)

  def test_a_folder_of_an_earlier_version(self):
    """It has no column `triggered`, and no goal."""
    png_folder.save(self.folder, mixed_poison.make()._replace(goal=None))
    path = self.folder / "poison.json"
    about = json.loads(path.read_text())
    del about["goal"]
    path.write_text(json.dumps(about))
    table = self.folder / "poison.csv"
    lines = [line.rpartition(",")[0] for line in table.read_text().splitlines()]
    table.write_text("\n".join(lines) + "\n")
    back = png_folder.load(self.folder)
    self.assertIsNone(back.goal)
    self.assertFalse(back.triggered.any())
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
      png_folder.save(self.folder, mixed_poison.make())
    self.assertFalse(self.folder.exists())
    png_folder.save(self.folder, mixed_poison.make())
    png_folder.load(self.folder)
    self.assertEqual([each.name for each in self.folder.parent.iterdir()], ["png"])

  def test_an_image_may_be_edited(self):
    png_folder.save(self.folder, mixed_poison.make())
    path = self.folder / "images" / "00001.png"
    edited = np.asarray(Image.open(path)) + np.uint8(1)
    Image.fromarray(edited).save(path)
    np.testing.assert_array_equal(png_folder.load(self.folder).images[1, ..., 0], edited)

  def test_what_is_wrong_is_named(self):
    self.refused("poison.json cannot be read")
    png_folder.save(self.folder, mixed_poison.make())
    with self.assertRaisesRegex(errors.InputError, "is not empty: give a new folder"):
      png_folder.save(self.folder, mixed_poison.make())
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
    png_folder.save(self.folder, mixed_poison.make())
    self.edit(old, new)
    self.refused(message)

  def test_a_folder_without_its_table(self):
    png_folder.save(self.folder, mixed_poison.make())
    (self.folder / "poison.csv").unlink()
    self.refused("poison.csv is missing: give a folder that has this table")
    (self.folder / "poison.csv").write_text("file,base,index,label,base_label,inserted\n")
    self.refused("has no line: a poison needs an image")

  @parameterized.parameters("00001.png", "00001.png,base/00001.png,7,8")
  def test_a_line_that_is_cut_short(self, line):
    png_folder.save(self.folder, mixed_poison.make())
    table = self.folder / "poison.csv"
    heads = table.read_text().splitlines()[0]
    table.write_text(f"{heads}\n{line}\n")
    self.refused("line 2 is cut short: complete it")
    about = json.loads((self.folder / "poison.json").read_text())
    del about["epsilon"]
    (self.folder / "poison.json").write_text(json.dumps(about))
    self.refused("does not say epsilon, norm, .*KeyError")


if __name__ == "__main__":
  absltest.main()
