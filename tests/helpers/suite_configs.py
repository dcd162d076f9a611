"""Suites in a folder of their own, changes of their configs, pages that cost no time."""

import pathlib
import tempfile
from unittest import mock

import asked
import ml_collections
from absl.testing import parameterized

from pacd_jax import errors
from pacd_jax.results import report


def change(config: ml_collections.ConfigDict, **changes) -> ml_collections.ConfigDict:
  """Sets nested fields by `a__b=value`; a group is added, or merged, as a dictionary."""
  with config.unlocked(), config.ignore_type():
    for name, value in changes.items():
      *groups, field = name.split("__")
      holder = config
      for group in groups:
        holder = holder[group]
      if isinstance(value, dict) and value and field in holder:
        holder[field].update(value)
      else:
        holder[field] = ml_collections.ConfigDict(value) if value == {} else value
  return config


def write_page(folder) -> None:
  """In place of a part's own page, which takes longest."""
  path = pathlib.Path(folder, "report", "index.html")
  path.parent.mkdir(exist_ok=True)
  path.write_text("page")


class SuiteTestCase(parameterized.TestCase):
  """A folder for one suite, whose parts have `write_page`'s pages."""

  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.workdir = pathlib.Path(folder, "suite")
    self.enterContext(mock.patch.object(report, "write", write_page))

  def times(self, parts) -> dict[pathlib.Path, int]:
    """When each file of the parts was written."""
    paths = [path for part in parts for path in (self.workdir / part).rglob("*")]
    files = [path for path in paths if path.is_file() and path.name != ".lock"]
    return {path: path.stat().st_mtime_ns for path in files}

  def refuses(self, message, config):
    """In one line, before any work."""
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      asked.run(config, self.workdir)
    self.assertNotIn("\n", str(caught.exception))
    self.assertFalse(self.workdir.exists())
