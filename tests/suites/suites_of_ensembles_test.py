"""Suites whose victims are ensembles: tables as of others, and all runs collected."""

import pathlib
import tempfile
from unittest import mock

import asked
import ml_collections
import pytest
import suite_configs
from absl.testing import absltest, parameterized

from configs import comparisons, defenses, digits_aggregation
from pacd_jax.results import collect, report

_TINY = {
  "train.num_epochs": 2,
  "train.num_victims": 1,
  "certify.n": 100,
  "certify.num_points": 3,
}


def _config(**overrides):
  config = digits_aggregation.get_config("smoke")
  config.update_from_flattened_dict(_TINY | overrides)
  return config


def _compare(folder):
  del folder
  return comparisons.get_config(
    _config(), "", epsilons=(0.1,), baselines=("brightness",), variants={}
  )


def _transfer(folder):
  asked.run(_config(rows=("brightness",)), folder / "made", ["attack"])
  config = ml_collections.ConfigDict()
  config.victims = {
    "plurality": _config(),
    "election": _config(**{"train.ensemble.aggregation": "run_off"}),
  }
  config.poisons = {"yours": str(folder / "made/poison/brightness.npz")}
  config.data = {"data_dir": ""}
  return config


def _defend(folder):
  del folder
  known = {"jpeg": {"defense.chain": ("jpeg",)}}
  return defenses.get_config(_config(), attacks={}, defenses=known, adaptive={})


@pytest.mark.long
class SuitesOfEnsemblesTest(parameterized.TestCase):
  @parameterized.parameters(
    (_compare, "9 linear (deep_partition)", ["brightness", "clean"]),
    (_transfer, "9 linear (run_off)", ["clean", "clean", "yours", "yours"]),
    (_defend, "9 linear (deep_partition)", ["brightness", "brightness", "clean", "clean"]),
  )
  def test_tables_are_made(self, make, victims, rows):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    with mock.patch.object(report, "write", suite_configs.write_page):
      table = asked.run(make(folder), folder / "suite")
    self.assertIn(victims, " ".join(table.split()))
    lines = collect.collect([folder / "suite"])
    self.assertEqual(sorted(line["data"] for line in lines), rows)
    for line in lines:
      self.assertEqual(line["poisoning_unit"], "replaced images")
      self.assertGreaterEqual(line["acr_poisoned_1"], line["acr_poisoned_3"])


if __name__ == "__main__":
  absltest.main()
