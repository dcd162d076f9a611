"""A matrix of defences: every part once, the numbers of the parts, bad input refused."""

import json
from unittest import mock

import asked
import finished_run
import numpy as np
import pytest
import suite_configs
from absl.testing import absltest, parameterized

from configs import defenses
from pacd_jax import errors
from pacd_jax.experiment import defended, defense_specs, door

_TINY = {
  "attack.num_steps": 2,
  "attack.selection.num_surrogates": 1,
  "train.num_epochs": 1,
  "certify.n": 100,
  "certify.num_points": 3,
  "rows": ("clean", "brightness", "pacd"),
}
_PARTS = ["none", "attacks/pacd_per_image", "half", "decay", "adaptive/half"]


def _config():
  return defenses.get_config(
    finished_run.smoke(**_TINY),
    attacks={"pacd_per_image": {"attack.num_shared_steps": 0}},
    defenses={
      "half": {"defense.chain": ("random_share",), "defense.random_share.share": 0.5},
      "decay": {"train.weight_decay": 0.1},
    },
    adaptive={"half": {"attack.num_steps": 3}},
  )


def _changed(**changes):
  return suite_configs.change(_config(), **changes)


class DefensesTest(suite_configs.SuiteTestCase):
  def _results(self, part):
    return json.loads((self.workdir / part / "results.json").read_text())

  @pytest.mark.long
  def test_whole(self):
    table = asked.run(_config(), self.workdir)
    found = self._results(".")
    columns = {column["defense"]: column for column in found["columns"]}
    self.assertEqual([*columns], ["none", "decay", "half"])
    attacks = ["clean", "brightness", "pacd", "pacd_per_image"]
    for name, column in columns.items():
      more = ["pacd, adaptive"] if name == "half" else []
      self.assertEqual([row["data"] for row in column["rows"]], attacks + more)
    # Numbers are those of the parts.
    for name in ("half", "decay"):
      own = {row["data"]: row for row in self._results(name)["rows"]}
      for row in columns[name]["rows"][:4]:
        self.assertEqual(row["acr"], own[row["data"]]["acr"])
    (variant,) = self._results("attacks/pacd_per_image")["rows"]
    self.assertEqual(columns["none"]["rows"][3]["acr"], variant["acr"])
    (knowing,) = self._results("adaptive/half")["rows"]
    self.assertEqual(columns["half"]["rows"][4]["acr"], knowing["acr"])
    # Every column has the poison that was made once.
    for row, made in {
      "brightness": "none/poison/brightness.npz",
      "pacd": "none/poison/pacd.npz",
      "pacd_per_image": "attacks/pacd_per_image/poison/pacd.npz",
    }.items():
      for name in ("half", "decay"):
        copy = self.workdir / name / "poison" / f"{row}.npz"
        self.assertEqual(copy.read_bytes(), (self.workdir / made).read_bytes())
    self.assertFalse((self.workdir / "half/checkpoints/attack").exists())
    # Half of every class is removed, and of a whole class that is attacked, too.
    for row in columns["half"]["rows"][:4]:
      np.testing.assert_allclose(row["clean_removed"], 0.5, atol=0.01)
      if row["data"] in ("clean", "brightness"):
        np.testing.assert_allclose(row["poison_removed"], 0.5, atol=0.01)
    self.assertEqual({row["poison_removed"] for row in columns["decay"]["rows"]}, {0.0})
    for words in (
      "recovered %",
      "pacd, adaptive",
      "attacked / others",
      "50.0 / 50.2",
      "victims: 2",
    ):
      self.assertIn(words, table)
    page = (self.workdir / "report" / "index.html").read_text()
    for words in ("image/png;base64", "../half/report", "random_share", "is a filter"):
      self.assertIn(words, page)
    adaptive = door.load(self.workdir / "adaptive/half").config
    self.assertEqual(adaptive.defense.chain.names, ("random_share",))
    self.assertEqual(adaptive.attack.num_steps, 3)
    # Again: nothing is done but the matrix' own page; and another config is refused.
    before = self.times(_PARTS)
    self.assertEqual(asked.run(_config(), self.workdir), table)
    self.assertEqual(self.times(_PARTS), before)
    with self.assertRaisesRegex(errors.InputError, "another protocol .*sigma"):
      asked.run(_changed(base__sigma=0.5), self.workdir)

  @pytest.mark.long
  def test_a_defence_that_refuses_is_a_cell(self):
    def refuse(defences, *others):
      if not defences:
        return whole(defences, *others)
      raise errors.InputError("'half' would remove all images of class 8")

    whole = defended.chain.apply
    self.enterContext(mock.patch.object(defended.chain, "apply", refuse))
    words = "^part half: 'half' would remove all .*; part adaptive/half: 'half' would .*all"
    with self.assertRaisesRegex(errors.RefusedError, words):
      asked.run(_config(), self.workdir)
    columns = {column["defense"]: column for column in self._results(".")["columns"]}
    self.assertEqual(columns["half"]["rows"], [])
    for row, reason in columns["half"]["failed"].items():
      adaptive = "adaptive/" if row == "pacd, adaptive" else ""
      self.assertStartsWith(reason, f"part {adaptive}half: 'half' would remove all")
    self.assertLen(columns["half"]["failed"], 5)
    self.assertLen(columns["decay"]["rows"], 4)
    page = (self.workdir / "report" / "index.html").read_text()
    for words in ("What failed", "<li>part half: ", "../decay/report"):
      self.assertIn(words, page)
    self.assertNotIn("../half/report", page)

  @parameterized.parameters(
    ({"base__sigma": -1.0}, "base: config field sigma is -1.0"),
    ({"base__rows": ("clean",)}, "base.rows must be 'clean' and then attacks"),
    ({"base__rows": ("pacd", "clean")}, "base.rows must be 'clean' and then attacks"),
    ({"defenses": {}}, "a matrix of defences needs some"),
    ({"defenses__none": {}}, "defenses.none has an unusable name"),
    ({"defenses__pacd_per_image": {}}, "per_image has an unusable name: it is that of a"),
    ({"defenses__half__overrides__sigma": 0.5}, "half.overrides.sigma: it may set fields"),
    (
      {"defenses__decay__overrides__train__num_victims": 3},
      "decay.overrides.train.num_victims: it may set",
    ),
    ({"defenses__decay__overrides__train__decay": 3}, "train.decay is unknown"),
    ({"defenses__half__adaptive__attack__epsilon": 0.2}, "adaptive.attack.epsilon: it may"),
    ({"defenses__half__adaptive__attack__norm": "l2"}, "adaptive.attack.norm: it may"),
    ({"defenses__half__adaptive": {}}, "half.adaptive is empty: an attack that knows"),
    ({"defenses__half__overrides__defense__chain": ("l3",)}, "half: .*defense.chain is"),
    ({"attacks__pacd_per_image__row": "pacd"}, "per_image is .*: it may have overrides"),
    ({"attacks__pacd": {}}, "attacks.pacd has an unusable name"),
    ({"epsilons": (0.1,)}, "epsilons is unknown: a matrix of defences has base, attacks"),
  )
  def test_refuses(self, changes, words):
    with self.assertRaisesRegex(errors.InputError, words):
      door.parse(_changed(**changes))

  def test_all_groups_are_needed(self):
    config = _config()
    del config.attacks
    with self.assertRaisesRegex(errors.InputError, "field attacks is missing: see conf"):
      defense_specs.parse(config.to_dict())


if __name__ == "__main__":
  absltest.main()
