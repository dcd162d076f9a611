"""The catalog of tables: their runs' configs, and what the paper prints."""

import dataclasses
import json
import pathlib
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.experiment import kinds, schema, together
from pacd_jax.paper import __main__ as paper
from pacd_jax.paper import catalog, empirical, lines, protocol, published, render, work
from pacd_jax.paper.protocol import Protocol
from pacd_jax.suites import runner


class CatalogTest(parameterized.TestCase):
  @parameterized.parameters(
    (dataset, scale) for dataset in protocol.DATASETS for scale in protocol.scales(dataset)
  )
  def test_every_run_is_a_config_that_can_be_used(self, dataset, scale):
    place, by_name = Protocol(dataset, scale, pathlib.Path("runs")), {}
    for item in paper.ITEMS.values():
      runs = work.in_order(item.runs(place))
      for run in runs:
        config = place.config(run)
        together.check(config)
        self.assertEqual(by_name.setdefault(run.name, config), config)
      for run in item.runs(place):
        self.assertContainsSubset(item.columns, run.settings)
      self.assertContainsSubset(item.quantities, render.QUANTITIES)

  def test_makers_of_poisons_come_first(self):
    place = Protocol("digits", "smoke", pathlib.Path("runs"))
    transfer = next(item for item in catalog.ITEMS if item.name == "figure4")
    names = [run.name for run in work.in_order(transfer.runs(place))]
    self.assertEqual(names[:3], ["ga_eps02", "macer_sigma=0.25", "smoothadv_sigma=0.25"])
    self.assertLen(names, 6)

  def test_runs_may_be_moved(self):
    """Where the maker of a poison lay is no part of a protocol; what is given is."""
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    here = Protocol("digits", "smoke", folder)
    there = here._replace(runs_dir=pathlib.Path("elsewhere"))
    training = next(item for item in paper.ITEMS.values() if item.name == "training")
    run, *_ = training.runs(here)
    path = here.folder(run)
    path.mkdir(parents=True)
    config = schema.values(there.config(run))
    for changed, is_refused in (({}, False), ({"sigma": 0.5}, True)):
      (path / "config.json").write_text(json.dumps(config | changed))
      if is_refused:
        with self.assertRaisesRegex(errors.InputError, "sigma is 0.5 there and 0.25 here"):
          here.is_finished(run)
      else:
        self.assertFalse(here.is_finished(run))

  def test_a_poison_that_was_made_anew_is_not_mixed_in(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    place = Protocol("digits", "smoke", folder)
    run, *_ = paper.ITEMS["recovery"].runs(place)[1:]
    path, made = place.folder(run), place.folder(catalog.MAIN) / "poison/pacd.npz"
    for poison in (path / "poison/poison.npz", made):
      poison.parent.mkdir(parents=True)
      poison.write_bytes(b"one")
    (path / "config.json").write_text(json.dumps(schema.values(place.config(run))))
    self.assertFalse(place.is_finished(run))
    made.write_bytes(b"another")
    with self.assertRaisesRegex(errors.InputError, "pacd.npz has changed since .* move"):
      place.is_finished(run)

  def test_runs_that_lack_the_poison_of_a_failed_one_do_not_stop_the_others(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    place, tried = Protocol("digits", "smoke", folder), []

    def one(plan, stage_names, *, allow_other_versions):
      del stage_names, allow_other_versions
      tried.append(plan)
      raise errors.NonFiniteError("its loss is nan")

    items = [paper.ITEMS["recovery"], paper.ITEMS["points"]]
    with (
      mock.patch.object(runner.stages, "run_alone", one),
      mock.patch.object(runner.door, "build", lambda config, path, load: path.name),
      mock.patch.object(runner.progress, "note"),
      self.assertRaisesRegex(errors.NonFiniteError, "ga_recovery=1: it needs the poison"),
    ):
      work.do(place, items, {})
    self.assertEqual(tried, ["ga_sigma=0.25", "points"])

  def test_clean_data_are_one_line_at_epsilon_0(self):
    place = Protocol("digits", "smoke", pathlib.Path("runs"))
    item = paper.ITEMS["figure3"]
    found = [(line.settings["epsilon"], line.row) for line in lines.lines(place, item)]
    self.assertEqual([e for e, row in found if row == "clean"], [0.0, 0.0])  # ACR, ACA.
    self.assertEqual({e for e, row in found if row == "pacd"}, {0.1, 0.2, 0.3})

  def test_the_main_run_s_poison_has_one_name(self):
    place = Protocol("digits", "smoke", pathlib.Path("runs"))
    for name in ("training", "recovery", "macer_k"):
      self.assertEqual(
        {line.row for line in lines.lines(place, paper.ITEMS[name])}, {"clean", "pacd"}
      )

  def test_the_authors_attack_is_a_row_beside_the_package_s(self):
    """Its run makes row pacd, which tables show as pacd_authors beside the paper's PACD."""
    place = Protocol("mnist", "paper", pathlib.Path("runs"))
    found = lines.lines(place, paper.ITEMS["table2"])
    at = {
      (line.settings["sigma"], line.row): line for line in found if line.quantity == "acr"
    }
    self.assertEqual(at[0.25, "pacd_authors"].run, "ga_authors_sigma=0.25")
    for row in ("pacd", "pacd_authors"):
      self.assertEqual(at[0.25, row].paper, published.Value(0.325, 0.10))
    runs = {run.name: place.config(run).attack for run in paper.ITEMS["table2"].runs(place)}
    self.assertEqual(runs["ga_authors_sigma=0.25"].preset.name, "authors")
    steps = {name: attack.num_steps for name, attack in runs.items() if "authors" in name}
    self.assertEqual([*steps.values()], [2750, 550, 550])
    self.assertEqual(runs["ga_sigma=0.25"].preset.name, "")

  def test_runs_of_several_commits_are_named(self):
    place = Protocol("digits", "smoke", pathlib.Path("runs"))
    runs = paper.ITEMS["table2"].runs(place)
    stamps = {
      runs[0].name: [{"commit": "a" * 40, "changed": False}],
      runs[1].name: [{"commit": "a" * 40, "changed": False}],
      runs[2].name: [
        {"commit": "a" * 40, "changed": False},
        {"commit": "b" * 40, "changed": True},
      ],
    }

    def results(protocol, run):
      del protocol
      return {"stamps": stamps[run.name]}

    with mock.patch.object(render, "_results", results):
      self.assertEqual(render._commits(place, runs[:2]), [])
      one, other = render._commits(place, runs)
    names = ", ".join(run.name for run in runs[:2])
    self.assertEqual(one, f"Made by code of {'a' * 12}: {names}.")
    self.assertIn(f"{'a' * 12}, then {'b' * 12} with changes: {runs[2].name}", other)

  def test_a_config_that_is_not_there_is_named(self):
    place = Protocol("digits", "smoke", pathlib.Path("runs"))
    with self.assertRaisesRegex(errors.InputError, "no config .digits_elsewhere."):
      place.config(protocol.Run("any", "elsewhere"))


class Table5Test(absltest.TestCase):
  def test_an_attack_that_is_added_later_makes_the_table_too(self):
    mine = dataclasses.replace(kinds.EVASIONS["fgsm"], name="mine")
    only_linf = dataclasses.replace(mine, name="only_linf", norms=("linf",))
    with mock.patch.object(kinds, "EVASIONS", [*kinds.EVASIONS, mine, only_linf]):
      self.assertEqual(empirical.attacks()[-1], "mine")
    self.assertNotIn("mine", empirical.attacks())


class PublishedTest(parameterized.TestCase):
  @parameterized.parameters(
    ("table2", "mnist", 0.25, "pacd", "acr", 0.325, 0.10),
    ("table2", "cifar10", 0.5, "watermark", "aca", 0.7401, 0.0922),
    ("table4", "mnist", 0.75, "clean", "acr", 1.262, 0.05),
    ("table1", "cifar10", "standard", "standard", "class_accuracy", 0.0036, 0.0037),
    ("table5", "mnist", 0.5, "pacd", "distortion", 2.170, 0.09),
  )
  def test_is_what_the_paper_prints(self, table, dataset, setting, row, quantity, *value):
    found = published.value(table, dataset, setting, row, quantity)
    np.testing.assert_allclose(found, value)

  def test_has_every_entry(self):
    self.assertLen(published._values(), 3 * (3 + 2) * 3 * 2 + 2 * 4 * 2 + 5 * 2)

  def test_is_nothing_where_the_paper_has_none(self):
    self.assertIsNone(published.value("table2", "digits", 0.25, "pacd", "acr"))
    self.assertIsNone(published.value("table2", "mnist", 0.25, "classwise", "acr"))


if __name__ == "__main__":
  absltest.main()
