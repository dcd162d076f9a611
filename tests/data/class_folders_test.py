"""Images as a folder for each class: order, kinds, and what is refused."""

import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from PIL import Image

from pacd_jax import errors
from pacd_jax.data import class_folders


class ClassFoldersTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def _save(self, name, pixels):
    path = self.folder / name
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)

  @parameterized.parameters(
    (["b", "a", "10"], ["10", "a", "b"]), (["10", "9", "0"], ["0", "9", "10"])
  )
  def test_classes_are_in_order(self, given, expected):
    for number, name in enumerate(given):
      self._save(f"{name}/2.png", np.full((2, 3), 10 * number + 1))
      self._save(f"{name}/1.png", np.full((2, 3), 10 * number))
    (self.folder / ".hidden").mkdir()
    (self.folder / "read.me").write_text("no class")
    data, names, paths = class_folders.load(self.folder)
    wanted = [f"{name}/{number}.png" for name in expected for number in (1, 2)]
    self.assertEqual(paths, wanted)
    self.assertEqual(names, expected)
    np.testing.assert_array_equal(data.labels, [0, 0, 1, 1, 2, 2])
    levels = [10 * given.index(name) + k for name in expected for k in (0, 1)]
    np.testing.assert_array_equal(data.images[:, 0, 0, 0], levels)
    self.assertEqual(data.images.shape, (6, 2, 3, 1))
    self.assertEqual((data.images.dtype, data.labels.dtype), (np.uint8, np.int32))

  def test_colours(self):
    pixels = np.arange(2 * 18).reshape(2, 2, 3, 3)
    for name, image in zip("ab", pixels, strict=True):
      self._save(f"{name}/1.png", image)
    np.testing.assert_array_equal(class_folders.load(self.folder)[0].images, pixels)

  def test_what_is_refused(self):
    def refuses(words):
      with self.assertRaisesRegex(errors.InputError, words):
        class_folders.load(self.folder)

    refuses("has 0 folders of images: give one for each class")
    self._save("a/1.png", np.zeros((2, 2)))
    refuses("has 1 folders of images")
    (self.folder / "b").mkdir()
    refuses("b has no .png")
    self._save("b/1.png", np.zeros((2, 3)))
    refuses(r"b/1.png has shape \(2, 3, 1\), and the first image \(2, 2, 1\)")
    self._save("b/1.png", np.zeros((2, 2, 4)))
    refuses("b/1.png has mode RGBA: use 8-bit PNGs")
    (self.folder / "b/1.png").write_bytes(b"no image")
    refuses("b/1.png is no image: ")
    (self.folder / "b/0.jpg").write_bytes(b"no image")
    refuses("b/0.jpg is no .png: convert it, or take it away")


if __name__ == "__main__":
  absltest.main()
