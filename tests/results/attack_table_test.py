"""The numbers of a table of attacks, from made-up results, and its picture."""

import numpy as np
from absl.testing import absltest

from pacd_jax.results import attack_figures, attack_table


def _row(name, acr, **more):
  row = {"data": name, "num_seeds": 2, "num_points": 5, "split": "test", "n0": 10}
  row |= {"mode": "fixed", "dtype": "float32", "n": 100, "alpha": 0.001, "bound": "exact"}
  row |= {"acr": acr, "aca": [0.5, 0.5], "accuracy": [0.9, 0.8], "style": None}
  for quantity in ("acr", "aca", "accuracy"):
    values = row[quantity]
    row[f"{quantity}_mean"] = None if values is None else float(np.mean(values))
    row[f"{quantity}_std"] = 0.01
  return row | {"epsilon": 0.1, "norm": "linf", "attack_seconds": 12.5} | more


def _collected(acr=(0.4, 0.6)):
  words = {"dataset": "digits", "description": "digits", "target_class": 8}
  words |= {"sigma": 0.25, "norm": "linf", "epsilon": 0.1, "model": "mlp"}
  words |= {"training": "gaussian"}
  facts = attack_table.Facts(200, 20, 10, 5, 0.3, 1.25, is_bounded=False)
  goal = {"success": [0.5, 0.7], "success_mean": 0.6, "success_std": 0.1}
  goal["control"] = {"success": [0.05, 0.05], "success_mean": 0.05, "success_std": 0.01}
  goal |= {"certified_success": None, "certified_success_mean": None}
  left = None if acr is None else [value / 2 for value in acr]
  results = {
    "clean": words | {"rows": [_row("clean", acr, attack_seconds=None)]},
    "one": words | {"rows": [_row("one", left)]},
    "two": words
    | {"rows": [_row("clean", left), _row("one", left, goal=goal, attack_seconds=0.25)]},
  }
  lines = [
    attack_table.Line("clean", "clean", "clean"),
    attack_table.Line("one", "one", "one", facts=facts._replace(is_bounded=True)),
    attack_table.Line("two, clean", "two", "clean"),
    attack_table.Line("two", "two", "one", "two, clean", facts),
  ]
  return attack_table.collect(lines, results)


class AttackTableTest(absltest.TestCase):
  def test_effects(self):
    heads, *lines = attack_table.cells(_collected(), attack_table.EFFECTS)
    self.assertEqual(heads[:3], ("attack", "ACR", "% of clean"))
    expected = {
      "clean": ("0.500 ± 0.010", "100.0", "50.0 ± 1.0", "85.0 ± 7.1", "-", "-", "-"),
      "one": ("0.250 ± 0.010", "50.0", "50.0 ± 1.0", "85.0 ± 7.1", "-", "-", "-"),
      # Of the clean data with the same victims.
      "two, clean": ("0.250 ± 0.010", "100.0", "50.0 ± 1.0", "85.0 ± 7.1", "-", "-", "-"),
      "two": (
        "0.250 ± 0.010",
        "100.0",
        "50.0 ± 1.0",
        "85.0 ± 7.1",
        "60.0 ± 10.0",
        "5.0 ± 1.0",
        "-",
      ),
    }
    self.assertEqual({name: tuple(rest) for name, *rest in lines}, expected)

  def test_changes(self):
    _, *lines = attack_table.cells(_collected(), attack_table.CHANGES)
    found = {name: tuple(rest) for name, *rest in lines}
    self.assertEqual(found["clean"], ("-",) * 5)
    self.assertEqual(found["one"], ("0.1 linf", "10", "5", "2.5", "12"))
    two = ("0.30 linf, 1.2 l2", "10", "5", "2.5", "0.25")
    self.assertEqual(found["two"], two)

  def test_table(self):
    text = attack_table.table(_collected())
    for words in ("digits, class 8: mlp, sigma 0.25", "of 200 training images", "n 100"):
      self.assertIn(words, " ".join(text.split()))
    self.assertLess(max(map(len, text.splitlines())), 100)

  def test_without_acr(self):
    collected = _collected(acr=None)
    self.assertEqual(attack_table.quantity(collected), "aca")
    _, first, *_ = attack_table.cells(collected, attack_table.EFFECTS)
    self.assertEqual(first[:3], ("clean", "-", "-"))


class FigureTest(absltest.TestCase):
  def test_a_panel_for_goals_only_if_there_are_any(self):
    bars = {
      "clean": attack_figures.Bar(np.array([0.4, 0.6]), None),
      "one": attack_figures.Bar(np.array([0.1, 0.3]), None),
    }
    (left,) = attack_figures.attacks(bars).axes
    means = [line.get_xdata()[0] for line in left.lines if line.get_marker() == "None"]
    np.testing.assert_allclose(means, [0.5, 0.2, 0.5])  # Of both, and across.
    bars["one"] = bars["one"]._replace(gained=np.array([90.0, 100.0]))
    _, right = attack_figures.attacks(bars).axes
    np.testing.assert_allclose(right.lines[0].get_xdata(), [90.0, 100.0])
    np.testing.assert_allclose(right.lines[0].get_ydata(), [1.0, 1.0])


if __name__ == "__main__":
  absltest.main()
