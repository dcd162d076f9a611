"""A whole run of the smoke config, for tests of what it leaves and what it refuses."""

import fcntl
import hashlib
import os
import pathlib
import shutil
import tempfile

import asked
from absl.testing import parameterized

from configs import digits_ga
from pacd_jax import errors
from pacd_jax.experiment import stages
from pacd_jax.runtime import run_folder

ROWS = ("clean", "classwise", "brightness", "pacd")


def smoke(**overrides):
  """The smoke config with a model that compiles in a fraction of the CNN's time."""
  config = digits_ga.get_config("smoke")
  config.model.name = "linear"
  config.update_from_flattened_dict(overrides)
  return config


def digest(path: pathlib.Path) -> str:
  """SHA-256 of a file."""
  return hashlib.sha256(path.read_bytes()).hexdigest()


def results(workdir: pathlib.Path) -> dict:
  """What `results.json` says, but for times."""
  found = run_folder.read_json(workdir / "results.json")
  for row in found["rows"]:
    del row["attack_seconds"]
  return found


def _copy_of_the_sessions(folder: pathlib.Path) -> str:
  """The run that all classes of a session begin with, done once; returns its table."""
  shared = pathlib.Path(os.environ["PACD_TESTS_FOLDER"])
  with open(shared / "finished.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    table = shared / "table.txt"
    if not table.exists():
      table.write_text(asked.run(smoke(), shared / "finished"))
  shutil.copytree(shared / "finished", folder)
  return table.read_text()


class FinishedRunTestCase(parameterized.TestCase):
  """One finished run for the class, and an empty folder for each test."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls._temporary = tempfile.TemporaryDirectory()
    cls.finished = pathlib.Path(cls._temporary.name, "finished")
    cls.table = _copy_of_the_sessions(cls.finished)

  @classmethod
  def tearDownClass(cls):
    cls._temporary.cleanup()
    super().tearDownClass()

  def setUp(self):
    super().setUp()
    self.workdir = self.temporary("run")

  def temporary(self, name: str) -> pathlib.Path:
    return pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), name)

  def files(self) -> dict[pathlib.Path, int]:
    """Every file of the run and when it was last written; the lock is no result."""
    paths = [path for path in self.workdir.rglob("*") if path.is_file()]
    return {path: path.stat().st_mtime_ns for path in paths if path.name != ".lock"}

  def copy_finished(self) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(self.finished, self.workdir))

  def refuses(self, message, config=None, stage_names=stages.NAMES):
    """The run ends with one line that holds `message`, and starts nothing."""
    before = self.files()
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      asked.run(config or smoke(), self.workdir, stage_names)
    self.assertNotIn("\n", str(caught.exception))
    self.assertEqual(before, self.files())
