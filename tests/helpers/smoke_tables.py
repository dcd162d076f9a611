"""Some tables' smoke run: what the tests of their page and of their command look at."""

import contextlib
import csv
import fcntl
import io
import json
import os
import pathlib
import shutil
import tempfile
from unittest import mock

from absl.testing import parameterized

from pacd_jax.paper import __main__ as paper
from pacd_jax.paper.protocol import Protocol

TABLES = ("table2", "table5", "detectability", "paired")


def command(*arguments):
  """The command's status, and what it says."""
  out, said = io.StringIO(), io.StringIO()
  with (
    mock.patch.object(paper.sharding, "cores_as_devices"),  # JAX has its devices.
    mock.patch.object(paper.preemption, "install"),
    mock.patch.object(paper.signal, "signal"),
    contextlib.redirect_stdout(out),
    contextlib.redirect_stderr(said),
  ):
    status = paper.main([str(argument) for argument in arguments])
  return status, out.getvalue(), said.getvalue()


def tsv(path):
  """A certificate's lines, read by nothing of the package."""
  with open(path, newline="") as file:
    return list(csv.DictReader(file, delimiter="\t"))


def _arguments(folder):
  """Of the command that runs the tables into a folder."""
  places = (f"--runs_dir={folder / 'runs'}", f"--out={folder / 'docs'}")
  return ("run", *TABLES, "--smoke", "--only=sigma=0.25", *places)


def _copy_of_the_sessions(folder: pathlib.Path) -> tuple[int, str]:
  """The tables' run, done once in a session; its command's status and what it said."""
  shared = pathlib.Path(os.environ["PACD_TESTS_FOLDER"])
  with open(shared / "tables.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    made, ended = shared / "tables", shared / "tables.json"
    if not ended.exists():
      status, _, said = command(*_arguments(made))
      command("run", "classes", "--smoke", "--only=class=8", *_arguments(made)[-2:])
      ended.write_text(json.dumps([status, said]))
  shutil.copytree(made, folder)
  return tuple(json.loads(ended.read_text()))


class TestCase(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls._temporary = tempfile.TemporaryDirectory()
    cls.folder = pathlib.Path(cls._temporary.name, "tables")
    cls.status, cls.said = _copy_of_the_sessions(cls.folder)
    cls.arguments = _arguments(cls.folder)
    cls.place = Protocol("digits", "smoke", cls.folder / "runs")
    cls.page = (cls.folder / "docs/reproduction.md").read_text()
    cls.run_folder = cls.folder / "runs/digits_smoke/ga_sigma=0.25"

  @classmethod
  def tearDownClass(cls):
    cls._temporary.cleanup()
    super().tearDownClass()
