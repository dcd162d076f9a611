"""The runner of suites: what it skips, refuses, goes on with, and what hangs on what."""

import shutil
from unittest import mock

import finished_run
import pytest
from absl.testing import absltest

from pacd_jax import errors
from pacd_jax.experiment import door, stages
from pacd_jax.runtime import progress
from pacd_jax.suites import runner


def _parse(**overrides):
  return door.parse(finished_run.smoke(**overrides))


class RunnerTest(finished_run.FinishedRunTestCase):
  def setUp(self):
    super().setUp()
    self.worked, self.bad = [], set()

    def attack(plan):
      name = plan.folder.path.name
      self.worked.append(name)
      if name in self.bad:
        raise errors.NonFiniteError(f"stage attack, step 3: {name} is nan")

    self.enterContext(mock.patch.dict(stages.RUN, {"attack": attack}))

  def suite(self, *parts, **options):
    return runner.Suite(
      path=self.workdir, parts=parts, report=lambda plans: " ".join(plans), **options
    )

  def test_a_finished_part_is_left_alone(self):
    shutil.copytree(self.finished, self.workdir / "done")
    parts = [runner.Part(name, _parse()) for name in ("done", "new")]
    runner.run(self.suite(*parts), ("attack",))
    self.assertEqual(self.worked, ["new"])

  @pytest.mark.long
  def test_a_part_that_was_killed_in_its_report_is_taken_up(self):
    shutil.copytree(self.finished, self.workdir / "killed")
    (self.workdir / "killed" / "report" / "index.html").unlink()
    runner.run(self.suite(runner.Part("killed", _parse())))
    self.assertTrue(runner.is_written(self.workdir / "killed"))

  def test_what_is_finished_is_told_by_its_files(self):
    path, config = self.copy_finished(), _parse()
    self.assertTrue(runner.is_written(path))
    self.assertTrue(runner.is_finished(path, config))
    (path / "certificates" / "pacd" / "seed_1.tsv").unlink()
    self.assertFalse(runner.is_finished(path, config))
    self.assertFalse(runner.is_finished(self.workdir / "elsewhere", config))

  def test_a_folder_of_another_protocol_is_refused_before_any_work(self):
    shutil.copytree(self.finished, self.workdir / "b")
    parts = [runner.Part("a", _parse()), runner.Part("b", _parse(sigma=0.5))]
    with self.assertRaisesRegex(errors.InputError, r"b: .*another protocol \(sigma"):
      runner.run(self.suite(*parts, title="victim {}"), ("attack",))
    self.assertEqual(self.worked, [])
    self.assertFalse((self.workdir / "a").exists())

  def test_a_poison_that_was_made_anew_since_is_told(self):
    made = self.temporary("pacd.npz")
    shutil.copy(self.finished / "poison" / "pacd.npz", made)
    config = door.parse(self._with_poison(str(made)))
    path = self.workdir
    shutil.copytree(self.finished, path)
    shutil.copy(made, path / "poison" / "yours.npz")
    there = door.build(config, self.temporary("new")).folder
    there.claim()
    shutil.copy(there.path / "config.json", path / "config.json")
    self.assertFalse(runner.is_finished(path, config))  # It has no such certificates.
    shutil.copy(self.finished / "poison" / "classwise.npz", made)
    with self.assertRaisesRegex(errors.InputError, "has changed since .*: move .* away"):
      runner.is_finished(path, config)

  def _with_poison(self, path):
    config = finished_run.smoke(rows=("clean", "yours"))
    config.poisons.yours = path
    return config

  def test_a_part_that_is_not_finite_stops_those_alone_that_need_its_poison(self):
    self.bad = {"bad"}
    parts = [
      runner.Part("bad", _parse()),
      runner.Part("hangs_on_it", _parse(), makers=("bad",)),
      runner.Part("other", _parse()),
    ]
    suite = self.suite(*parts, advice=lambda names: f"; without {' '.join(names)}")
    message = (
      "bad is nan; hangs_on_it: it needs the poison of bad "
      r"\(all other parts are done; without bad hangs_on_it\)"
    )
    with self.assertRaisesRegex(errors.NonFiniteError, message):
      runner.run(suite, ("attack",))
    self.assertEqual(self.worked, ["bad", "other"])

  def test_a_part_that_a_defence_refuses_stops_itself_alone(self):
    def train(plan):
      if plan.folder.path.name == "refused":
        raise errors.RefusedError("filter 'l2' would remove all")

    noted = self.enterContext(mock.patch.object(progress, "note"))
    parts = [runner.Part(name, _parse()) for name in ("refused", "other")]
    suite = self.suite(
      *parts, report_without=lambda plans, failed: f"{[*plans]} {failed}", title="part {}"
    )
    refused = "part refused: filter 'l2' would remove all"
    every = dict.fromkeys(stages.NAMES, lambda plan: None) | {"train": train}
    self.enterContext(mock.patch.dict(stages.RUN, every))
    with self.assertRaisesRegex(errors.RefusedError, rf"^{refused} \(all other parts"):
      runner.run(suite)
    said = noted.call_args_list[-1].args[0]
    self.assertIn(f"['refused', 'other'] { ({'refused': refused}) }", said)

  def test_what_concerns_all_parts_stops_at_once(self):
    def attack(plan):
      self.worked.append(plan.folder.path.name)
      raise errors.InputError("the disk is full")

    parts = [runner.Part(name, _parse()) for name in ("first", "other")]
    self.enterContext(mock.patch.dict(stages.RUN, {"attack": attack}))
    with self.assertRaisesRegex(errors.InputError, "^first: the disk is full$"):
      runner.run(self.suite(*parts, title="{}"), ("attack",))
    self.assertEqual(self.worked, ["first"])

  def test_the_report_is_of_all_parts(self):
    with mock.patch.dict(stages.RUN, dict.fromkeys(stages.NAMES, lambda plan: None)):
      said = runner.run(self.suite(*(runner.Part(name, _parse()) for name in "ab")))
    self.assertEqual(said, "a b")


if __name__ == "__main__":
  absltest.main()
