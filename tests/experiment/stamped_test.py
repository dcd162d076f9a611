"""A run tells what made each of its files, and is not resumed by others unasked."""

import json
import shutil
from unittest import mock

import asked
import finished_run
from absl.testing import absltest

from pacd_jax.data import poison_file
from pacd_jax.runtime import stamp


class StampedRunTest(finished_run.FinishedRunTestCase):
  def test_every_artefact_has_its_stamp(self):
    here = stamp.make()
    self.assertEqual(poison_file.read_stamp(self.finished / "poison" / "pacd.npz"), here)
    for name in ("results.json", "certificates/clean/seed_0.json"):
      self.assertEqual(json.loads((self.finished / name).read_text())["stamp"], here)
    self.assertEqual(json.loads((self.finished / "stamp.json").read_text()), [here])

  def _unfinished(self):
    workdir = self.copy_finished()
    shutil.rmtree(workdir / "certificates" / "pacd")
    return workdir

  def test_an_unfinished_run_is_not_resumed_by_others(self):
    workdir = self._unfinished()
    other = stamp._sealed(stamp.make() | {"jax": "0.9"})
    with mock.patch.object(stamp, "make", lambda: other):
      self.refuses("jax is .* there and 0.9 here.*--allow_other_versions")
      asked.run(finished_run.smoke(), workdir, allow_other_versions=True)
    versions = [each["jax"] for each in json.loads((workdir / "stamp.json").read_text())]
    self.assertEqual(versions, [stamp.make()["jax"], "0.9"])
    found = finished_run.results(workdir)
    del found["stamp"]
    before = finished_run.results(self.finished)
    del before["stamp"]
    self.assertEqual(found, before)

  def test_a_finished_one_is_shown_by_anybody(self):
    workdir = self.copy_finished()
    other = stamp._sealed(stamp.make() | {"jax": "0.9"})
    with mock.patch.object(stamp, "make", lambda: other):
      asked.run(finished_run.smoke(), workdir)

  def test_a_poison_from_before_says_nothing(self):
    path = self.workdir / "poison.npz"
    poison_file.save(path, poison_file.load(self.finished / "poison" / "pacd.npz"))
    self.assertIsNone(poison_file.read_stamp(path))


if __name__ == "__main__":
  absltest.main()
