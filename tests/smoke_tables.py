"""Some tables' smoke run: what the tests of their page and of their command look at."""

import contextlib
import csv
import functools
import io
import pathlib
import tempfile
from typing import NamedTuple
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


class _Made(NamedTuple):
  arguments: tuple[str, ...]  # Of the command that ran the tables.
  status: int
  said: str
  temporary: tempfile.TemporaryDirectory  # Goes with the process.


@functools.cache
def _made() -> _Made:
  """Run once by each process, whatever tests it has."""
  temporary = tempfile.TemporaryDirectory()
  folder = pathlib.Path(temporary.name)
  places = (f"--runs_dir={folder / 'runs'}", f"--out={folder / 'docs'}")
  arguments = ("run", *TABLES, "--smoke", "--only=sigma=0.25", *places)
  status, _, said = command(*arguments)
  command("run", "classes", "--smoke", "--only=class=8", *places)
  return _Made(arguments, status, said, temporary)


class TestCase(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    made = _made()
    cls.arguments, cls.status, cls.said = made.arguments, made.status, made.said
    cls.folder = pathlib.Path(made.temporary.name)
    cls.place = Protocol("digits", "smoke", cls.folder / "runs")
    cls.page = (cls.folder / "docs/reproduction.md").read_text()
    cls.run_folder = cls.folder / "runs/digits_smoke/ga_sigma=0.25"
