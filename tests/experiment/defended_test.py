"""A run with defences: what its victims get, what it leaves, how it goes on."""

import re
import tempfile

import asked
import chex
import finished_run
import jax
import numpy as np
import pytest
from absl.testing import absltest

from pacd_jax import errors
from pacd_jax.data import defended_file, training_sets
from pacd_jax.experiment import stages

_ROWS = ("clean", "classwise")


def _config(share, **overrides):
  chain = ("identity", "random_share")
  fields = {"rows": _ROWS, "defense.chain": chain, "defense.random_share.share": share}
  return finished_run.smoke(**fields, **overrides)


class DefendedTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = self.enter_context(tempfile.TemporaryDirectory())

  @pytest.mark.long
  def test_one_that_keeps_all_changes_no_result(self):
    asked.run(_config(1.0), self.workdir)
    defended = self._rows(self.workdir)
    with tempfile.TemporaryDirectory() as plain:
      asked.run(finished_run.smoke(rows=_ROWS), plain)
      undefended = self._rows(plain)
    for row, other in zip(defended, undefended, strict=True):
      left = r"^(.*) Its defences left (\d+) of \2 images\.$"
      self.assertRegex(row["words"], left)
      row["words"] = re.sub(left, r"\1", row["words"])
      self.assertEqual(row, other)

  def _rows(self, folder):
    plan = asked.build(finished_run.smoke(rows=_ROWS), folder)
    return finished_run.results(plan.folder.path)["rows"]

  @pytest.mark.long
  def test_recovery_is_on_the_clean_split_as_it_is(self):
    plan = asked.build(_config(0.5, **{"train.recovery_epochs": 2}), self.workdir)
    with plan.folder:
      for name in ("attack", "train"):
        stages.RUN[name](plan)
    sets = {row: plan.defended.split(row) for row in plan.rows}
    whole = len(plan.splits.train.labels)
    self.assertLess(len(sets["clean"].present), 0.6 * whole)
    victims = stages.load_victims(plan)
    # By hand: the same trainer, row by row, with the whole clean split as the last one.
    clean = training_sets.whole(plan.splits.train)
    data = training_sets.stack([*sets.values(), clean])
    rows, keys = plan.victims()
    state = plan.train.trainer.init(keys)
    for _ in range(plan.train.total_epochs):
      last = np.full_like(rows, len(sets))
      state, _ = plan.train.trainer.epoch(state, data, rows, keys, last)
    for number, params in enumerate(victims.values()):
      by_hand = jax.tree.map(lambda leaf, v=number: leaf[v], state.params)
      chex.assert_trees_all_close(params, by_hand, rtol=1e-4, atol=1e-5)

  def test_a_batch_that_a_defended_row_does_not_fill(self):
    config = _config(0.01)
    with self.assertRaisesRegex(errors.InputError, "train.batch_size is 50, but .* has"):
      asked.run(config, self.workdir)

  def test_a_file_of_another_training_set(self):
    plan = asked.build(_config(0.5), self.workdir)
    with plan.folder:
      stages.RUN["attack"](plan)
      for row in plan.rows:
        plan.defended.make(row)
    path = plan.folder.defended("clean")
    other = plan.training_sets.split("classwise")
    with self.assertRaisesRegex(errors.InputError, "made of another training set"):
      defended_file.load(path, other)
    again = defended_file.load(path, plan.training_sets.split("clean"))
    np.testing.assert_array_equal(again.present, plan.defended.split("clean").present)


if __name__ == "__main__":
  absltest.main()
