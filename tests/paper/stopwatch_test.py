"""Seconds over several processes, written while they pass."""

import json
import pathlib
import tempfile
import time
from unittest import mock

from absl.testing import absltest

from pacd_jax.paper import stopwatch


class SavedTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.path = folder / "run" / "paper.json"

  def test_adds_to_what_was_there_and_writes_on_the_way(self):
    often = mock.patch.multiple(stopwatch, _EVERY=0.02, _FIRST=0.02)
    with often, stopwatch.saved(self.path, 5.0) as record:
      record["hardware"] = "two cores"
      time.sleep(0.1)
      self.assertFalse(self.path.exists())  # The run makes its folder.
      self.path.parent.mkdir()
      while not self.path.exists():
        time.sleep(0.01)
      on_the_way = json.loads(self.path.read_text())["seconds"]
      time.sleep(0.2)
    made = json.loads(self.path.read_text())
    self.assertGreaterEqual(on_the_way, 5.1)
    self.assertGreaterEqual(made["seconds"], on_the_way + 0.2)
    self.assertLess(made["seconds"], 60.0)
    self.assertEqual(made["hardware"], "two cores")

  def test_the_first_write_comes_soon(self):
    """A run may be over, and killed, before the next one."""
    self.path.parent.mkdir()
    with stopwatch.saved(self.path, 0.0) as record:
      record["hardware"] = "two cores"
      deadline = time.monotonic() + 5.0
      while not self.path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
      self.assertEqual(json.loads(self.path.read_text())["hardware"], "two cores")

  def test_what_failed_took_time_too(self):
    self.path.parent.mkdir()
    with self.assertRaises(ValueError), stopwatch.saved(self.path, 1.0):
      raise ValueError
    self.assertGreaterEqual(json.loads(self.path.read_text())["seconds"], 1.0)


if __name__ == "__main__":
  absltest.main()
