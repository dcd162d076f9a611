"""A run tells what made each of its files, and is not resumed by others unasked."""

import json
import shutil
from unittest import mock

import asked
import finished_run
import long
import pytest
from absl.testing import absltest, parameterized

from pacd_jax.runtime import sealed, stamp


def _others(**changes):
  """Another code, version or device, for as long as it is entered."""
  other = sealed.seal(stamp.make() | changes)
  return mock.patch.object(stamp, "make", lambda: other)


def _read(path):
  return json.loads(path.read_text())


class StampedRunTest(finished_run.FinishedRunTestCase):
  def test_every_artefact_has_its_stamp(self):
    here = stamp.make()
    self.assertEqual(_read(self.finished / "stamp.json"), [here])
    self.assertEqual(_read(self.finished / "results.json")["stamps"], [here])
    for name in ("poison/pacd.json", "certificates/clean/seed_0.json"):
      self.assertEqual(_read(self.finished / name)["stamp"], here)
    page = (self.finished / "report" / "index.html").read_text()
    self.assertIn(f"Made by {stamp.in_words(here)}", page)

  def _unfinished(self, stage):
    """A copy of the run that ended before a stage."""
    workdir = self.copy_finished()
    shutil.rmtree(workdir / "certificates")
    if stage == "train":
      shutil.rmtree(workdir / "checkpoints" / "train")
    elif stage == "attack":
      shutil.rmtree(workdir / "checkpoints" / "train")
      (workdir / "poison" / "pacd.npz").unlink()
    return workdir

  @parameterized.parameters(
    ("attack", {"version": "0.9"}),
    ("train", {"code": "0" * 64, "commit": None}),
    ("certify", {"device_kind": "H200"}),
  )
  @long.after(0)
  def test_an_unfinished_run_is_not_resumed_by_others(self, stage, changes):
    workdir = self._unfinished(stage)
    with _others(**changes):
      self.refuses("made by other code or versions.* there and .* here.*--allow_other_ver")
      asked.run(finished_run.smoke(), workdir, allow_other_versions=True)
      here = stamp.make()
    first = stamp.make()
    self.assertEqual(_read(workdir / "stamp.json"), [first, here])
    found, before = finished_run.results(workdir), finished_run.results(self.finished)
    self.assertEqual(found.pop("stamps"), [first, here])
    del before["stamps"]
    self.assertEqual(found, before)
    self.assertIn("; resumed by pacd_jax", (workdir / "report" / "index.html").read_text())

  @pytest.mark.long
  def test_a_finished_one_is_shown_by_anybody_and_stays_its_makers(self):
    workdir = self.copy_finished()
    before = self.files()
    with _others(jax="0.9"):
      table = asked.run(finished_run.smoke(), workdir)
    self.assertEqual(table, self.table)
    report = (workdir / "report", workdir / "results.json")
    for path, time in self.files().items():
      if path.parent != report[0] and path != report[1]:
        self.assertEqual(time, before[path], path)
    self.assertEqual(_read(workdir / "results.json")["stamps"], [stamp.make()])

  @pytest.mark.long
  def test_one_from_before_stamps(self):
    workdir = self._unfinished("certify")
    (workdir / "stamp.json").unlink()
    self.refuses("does not say what made it")
    asked.run(finished_run.smoke(), workdir, allow_other_versions=True)
    self.assertEqual(_read(workdir / "stamp.json"), [stamp.make()])


if __name__ == "__main__":
  absltest.main()
