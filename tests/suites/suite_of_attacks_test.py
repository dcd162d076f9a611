"""A table of attacks: every part once, the numbers of the parts, and bad input refused."""

import json

import asked
import finished_run
import pytest
import suite_configs
from absl.testing import absltest, parameterized

from configs import attacks as configs
from pacd_jax import errors
from pacd_jax.experiment import door
from pacd_jax.suites import attacks

_TINY = {
  "attack.num_steps": 2,
  "attack.num_shared_steps": 2,
  "attack.selection.num_surrogates": 1,
  "train.num_epochs": 1,
  "certify.n": 100,
  "certify.num_points": 3,
}
_ROWS = ("brightness", "badnets")


def _config():
  """A row within the budget, one with a trigger, and one whose victims train otherwise."""
  more = {
    "half": ("badnets", {"badnets.share": 0.05}),
    "decay": ("brightness", {"train.weight_decay": 0.1}),
  }
  config = configs.get_config(finished_run.smoke(**_TINY), "", target=1, more=more)
  kept = {name: config.attacks[name] for name in (*_ROWS, *more)}
  del config.attacks
  config.attacks = kept
  return config


def _changed(**changes):
  return suite_configs.change(_config(), **changes)


class AttacksTest(suite_configs.SuiteTestCase):
  @pytest.mark.long
  def test_whole(self):
    table = asked.run(_config(), self.workdir)
    results = json.loads((self.workdir / "results.json").read_text())
    rows = {row["attack"]: row for row in results["rows"]}
    lines = ["clean", "brightness", "decay, clean", "decay", "badnets", "half"]
    self.assertEqual([*rows], lines)
    for name, row in rows.items():
      part = json.loads((self.workdir / row["part"] / "results.json").read_text())
      (own,) = [other for other in part["rows"] if other["data"] == row["data"]]
      self.assertEqual((row["acr"], row["accuracy"]), (own["acr"], own["accuracy"]), name)
    # Budgets as they are in the files of the poisons.
    self.assertIsNone(rows["clean"]["changes"])
    of_shift, of_patch = (rows[name]["changes"] for name in _ROWS)
    self.assertTrue(of_shift["is_bounded"])
    self.assertAlmostEqual(of_shift["linf"], 25 / 255)
    self.assertEqual(of_shift["num_relabelled"], 0)
    self.assertFalse(of_patch["is_bounded"])
    self.assertEqual(of_patch["linf"], 1.0)
    self.assertEqual(of_patch["num_images"], round(0.1 * of_patch["num_train"]))
    self.assertEqual(of_patch["num_relabelled"], of_patch["num_images"])
    half = rows["half"]["changes"]["num_images"]
    self.assertEqual(half, round(0.05 * of_patch["num_train"]))
    # What the attacker gets, and the clean data of the same victims.
    self.assertIsNone(rows["brightness"].get("goal"))
    self.assertLen(rows["badnets"]["goal"]["success"], 2)
    self.assertEqual(rows["decay"]["clean"], "decay, clean")
    self.assertEqual(rows["half"]["clean"], "clean")
    for words in (*lines, "success %", "0.1 linf", "1.00 linf", "victims: 2"):
      self.assertIn(words, table)
    page = (self.workdir / "report" / "index.html").read_text()
    for words in ("image/png;base64", "../half/report", "badnets.share = 0.05"):
      self.assertIn(words, page)
    self.assertTrue((self.workdir / "report" / "attacks.png").exists())
    with self.assertRaisesRegex(
      errors.InputError, "is a table of attacks: load one of its runs, such as .*clean"
    ):
      door.load(self.workdir)
    # Again: nothing is done; and another config is refused.
    self.assertEqual(asked.run(_config(), self.workdir), table)
    with self.assertRaisesRegex(errors.InputError, "another config .base.sigma is 0.25"):
      asked.run(_changed(base__sigma=0.5), self.workdir)

  @parameterized.parameters(
    ({"base__sigma": -1.0}, "base: config field sigma is -1.0"),
    ({"attacks__badnets__row": "magic"}, "attacks.badnets.row is 'magic': it must be one"),
    ({"attacks__badnets__row": "clean"}, "attacks.badnets.row is 'clean': it must be one"),
    ({"attacks__badnets__lam": 3}, "attacks.badnets must have a row, and may have"),
    ({"attacks__report": {"row": "pacd"}}, "attacks.report has an unusable name"),
    (
      {"attacks__half__overrides": {"badnets": {"size": 90}}},
      "half: config field badnets: the trigger has 90 pixels",
    ),
    (
      {"attacks__half__overrides": {"wanet": {"share": 0.5}}},
      "overrides.wanet.share: an attack may set fields of attack, train, badnets",
    ),
    (
      {"attacks__half__overrides": {"attack": {"epsilon": 0.5}}},
      "overrides.attack.epsilon: an attack .* not attack.epsilon",
    ),
    ({"sigma": 0.5}, "config field sigma is unknown: a table of attacks has base"),
    ({"data__data_dir": "somewhere"}, "data.data_dir=somewhere is for mnist and cifar10"),
  )
  def test_refuses(self, changes, message):
    self.refuses(message, _changed(**changes))

  def test_an_attack_is_left_out_by_its_row(self):
    config = _changed(attacks__half__row="", attacks__decay__row="")
    built = attacks.suite(door.parse(config), self.workdir)
    self.assertEqual([part.name for part in built.parts], ["clean", *_ROWS])
    for name in _ROWS:
      config.attacks[name].row = ""
    with self.assertRaisesRegex(errors.InputError, "a table of attacks needs some"):
      door.parse(config)


if __name__ == "__main__":
  absltest.main()
