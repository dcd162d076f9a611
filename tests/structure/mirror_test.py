"""Each room of the package has its room of tests, and each of those a room to test."""

import pathlib

from absl.testing import absltest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# Folders of tests that are of no room of the package.
_OF_NO_ROOM = {"helpers", "heavy", "structure", "launch", "fuzz"}


def _folders(path):
  return {
    each.name
    for each in path.iterdir()
    if each.is_dir() and any(each.glob("*.py")) and not each.name.startswith("__")
  }


class MirrorTest(absltest.TestCase):
  def test_every_room_has_its_tests(self):
    rooms = _folders(_ROOT / "pacd_jax")
    tests = _folders(_ROOT / "tests")
    self.assertEqual(rooms, tests - _OF_NO_ROOM)

  def test_every_room_of_tests_has_some(self):
    for name in _folders(_ROOT / "tests") - {"helpers", "heavy"}:
      self.assertNotEmpty(list((_ROOT / "tests" / name).rglob("*_test.py")), name)

  def test_names_of_tests_are_of_one_file_each(self):
    names = [path.name for path in (_ROOT / "tests").rglob("*_test.py")]
    self.assertLen(set(names), len(names))


if __name__ == "__main__":
  absltest.main()
