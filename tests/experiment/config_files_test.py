"""Configs by the names of the package's own, or as files."""

import pathlib
import tempfile

from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.experiment import config_files


class FindTest(parameterized.TestCase):
  @parameterized.parameters("", ":", ":smoke", ":smoke,sigma=0.5")
  def test_a_name_is_the_packages_own(self, variant):
    expected = f"{config_files.FOLDER / 'digits_ga.py'}{variant}"
    self.assertEqual(config_files.find(f"digits_ga{variant}"), expected)

  def test_a_file_is_itself(self):
    folder = self.enterContext(tempfile.TemporaryDirectory())
    path = pathlib.Path(folder, "mine.py")
    path.write_text("")
    self.assertEqual(config_files.find(f"{path}:smoke"), f"{path}:smoke")
    self.assertEqual(config_files.find("gone.py"), "gone.py")  # The command refuses it.

  @parameterized.parameters("digits_gaa", "base", "comparisons", "", "../x")
  def test_what_is_neither(self, name):
    with self.assertRaisesRegex(errors.InputError, "neither a file nor a config") as caught:
      config_files.find(name)
    self.assertIn("digits_ga", str(caught.exception))


if __name__ == "__main__":
  absltest.main()
