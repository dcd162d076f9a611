"""What made an artefact: what a stamp says, and what a run is not resumed under."""

import json
import pathlib
import tempfile
from unittest import mock

import jax
import numpy as np
from absl.testing import absltest, parameterized

import pacd_jax
from pacd_jax import errors
from pacd_jax.runtime import run_folder, sealed, stamp


class _Identity:
  grows, text, fingerprint = False, '{"seed": 0}\n', "a"

  def differences(self, there):
    return "" if there == {"seed": 0} else "seed"


class StampTest(parameterized.TestCase):
  def test_it_says_what_made_it(self):
    here = stamp.make()
    self.assertEqual(here["version"], pacd_jax.__version__)
    self.assertEqual((here["jax"], here["numpy"]), (jax.__version__, np.__version__))
    self.assertEqual(here["backend"], "cpu")
    self.assertIn("commit", here)
    self.assertEqual(json.loads(json.dumps(here)), here)
    self.assertTrue(sealed.is_whole(here))

  def test_the_code_is_known_by_its_sources(self):
    with tempfile.TemporaryDirectory() as folder:
      root = pathlib.Path(folder)
      (root / "a.py").write_text("x = 1\n")
      found = []
      for text in ("x = 1\n", "x = 1\n", "x = 2\n"):
        (root / "a.py").write_text(text)
        with mock.patch.object(stamp, "_PACKAGE", root):
          found.append(stamp._of_code.__wrapped__()["code"])
    self.assertEqual(found[0], found[1])
    self.assertNotEqual(found[0], found[2])

  def test_a_package_without_git_names_no_commit(self):
    folder = self.enterContext(tempfile.TemporaryDirectory())
    with mock.patch.object(stamp, "_PACKAGE", pathlib.Path(folder, "pacd_jax")):
      self.assertEqual(stamp._commit(), {"commit": None, "changed": None})
    with mock.patch.dict("os.environ", PATH=""):
      self.assertIsNone(stamp._git(pathlib.Path("."), "rev-parse", "HEAD"))

  @parameterized.parameters(
    ({"jax": "0.9"}, "jax is 0.9 there and "),
    ({"device_kind": "H200"}, "device_kind is H200 there and cpu here"),
    ({"enable_x64": True}, "enable_x64 is True there and False here"),
    (
      {"code": "f" * 64, "commit": "abcdef0123", "changed": True},
      "the code is commit abcdef0 with changes there and ",
    ),
    ({"code": "f" * 64, "commit": None}, "the code is sources fffffff there"),
    ({"code": "f" * 64, "version": "0.0.9"}, "version is 0.0.9 there and "),
  )
  def test_differences_are_named(self, changes, words):
    here = stamp.make()
    self.assertStartsWith(stamp.differences(here | changes, here), words)

  def test_in_words(self):
    here = stamp.make()
    self.assertStartsWith(stamp.in_words(here), f"pacd_jax {here['version']} (")
    self.assertIn(f"jax {jax.__version__}, ", stamp.in_words(here))
    self.assertIn("on cpu (cpu)", stamp.in_words(here))
    self.assertIn("has no stamp", stamp.in_words(None))
    self.assertIn("was edited", stamp.in_words(here | {"jax": "0.9"}))

  def test_what_binds_nothing_may_differ(self):
    here = stamp.make()
    self.assertEqual(stamp.differences(here | {"python": "3.99", "commit": "0"}, here), "")


class RunFolderTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.folder = run_folder.RunFolder(self.path, _Identity())
    self.stamps = self.path / "stamp.json"

  def _made_by(self, **changes):
    """The folder, claimed under other values of a stamp."""
    other = sealed.seal(stamp.make() | changes)
    with mock.patch.object(stamp, "make", lambda: other):
      self.folder.claim()

  def test_an_empty_folder_is_anybodys(self):
    self.folder.check_made_by()

  def test_ones_own_is_resumed(self):
    self.folder.claim()
    before = self.stamps.read_bytes()
    self.folder.check_made_by()
    self.folder.claim()
    self.assertEqual(self.stamps.read_bytes(), before)

  @parameterized.parameters({"code": "0" * 64}, {"jax": "0.9"}, {"device_kind": "H200"})
  def test_others_are_refused_in_one_line_that_names_the_flag(self, **changes):
    self._made_by(**changes)
    with self.assertRaisesRegex(errors.InputError, "made by other code") as caught:
      self.folder.check_made_by()
    line = str(caught.exception)
    self.assertIn("--allow_other_versions", line)
    self.assertNotIn("\n", line)

  def test_with_the_flag_both_are_named(self):
    self._made_by(jax="0.9")
    self.folder.check_made_by(allow_other_versions=True)
    self.folder.claim()
    versions = [each["jax"] for each in json.loads(self.stamps.read_text())]
    self.assertEqual(versions, ["0.9", jax.__version__])
    self.folder.check_made_by()  # From here on it is this one's.

  def test_a_folder_from_before_stamps(self):
    self.folder.claim()
    self.stamps.unlink()
    with self.assertRaisesRegex(errors.InputError, "does not say what made it"):
      self.folder.check_made_by()
    self.folder.check_made_by(allow_other_versions=True)

  @parameterized.parameters("[]", "{}", "no json", '[{"schema": 1}]')
  def test_a_file_that_is_none(self, text):
    self.folder.claim()
    self.stamps.write_text(text)
    with self.assertRaisesRegex(errors.InputError, "damaged or was edited: restore it"):
      self.folder.check_made_by()

  def test_a_stamp_that_was_edited(self):
    self.folder.claim()
    edited = self.stamps.read_text().replace(jax.__version__, "0.9")
    self.stamps.write_text(edited)
    with self.assertRaisesRegex(errors.InputError, "damaged or was edited: restore it"):
      self.folder.check_made_by()


if __name__ == "__main__":
  absltest.main()
