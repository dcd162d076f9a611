"""The numbers of a matrix of defences: recovered shares by hand, tables, the page."""

import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from scipy import stats

from pacd_jax.results import defense_page, defense_table, evaluate


def _row(data, acr, **more):
  row = {
    "data": data,
    "acr": acr,
    "acr_mean": float(np.mean(acr)),
    "acr_std": evaluate.std(acr),
    "aca_mean": 0.5,
    "aca_std": 0.1,
    "accuracy": [0.9] * len(acr),
    "accuracy_mean": 0.9,
    "num_seeds": len(acr),
    "num_points": 35,
    "split": "test",
    "mode": "fixed",
    "dtype": "float32",
    "n0": 100,
    "n": 1000,
    "samples_mean": 1000.0,
    "alpha": 0.001,
    "bound": "clopper_pearson_one_sided",
  }
  return row | more


def _results(*rows):
  return {
    "dataset": "digits",
    "description": "digits",
    "target_class": 8,
    "sigma": 0.25,
    "model": "linear",
    "epsilon": 0.1,
    "norm": "linf",
    "rows": list(rows),
  }


_CLEAN, _POISONED = [0.30, 0.32, 0.28], [0.10, 0.12, 0.11]


def _matrix(half_of_poison=0.05, failed=None):
  columns = {
    "none": _results(_row("clean", _CLEAN), _row("pacd", _POISONED)),
    "l2": _results(_row("clean", [0.29, 0.30, 0.28]), _row("pacd", [0.20, 0.22, 0.20])),
  }
  removed = {
    "clean": {"poison_removed": 0.05, "clean_removed": 0.05},
    "pacd": {"poison_removed": half_of_poison, "clean_removed": 0.05},
  }
  return defense_table.collect(
    columns,
    adaptive={} if failed else {"l2": _results(_row("pacd", [0.08, 0.10, 0.12]))},
    removed={"l2": removed},
    words={"none": "no defence.", "l2": "far images are removed."}
    | ({"knn": "near images stay."} if failed else {}),
    filters=["l2", "knn"],
    failed=failed,
  )


class RecoveredTest(parameterized.TestCase):
  def test_by_hand(self):
    share, low, high = defense_table.recovered([0.20, 0.22, 0.20], _POISONED, _CLEAN)
    gained, lost = np.array([0.10, 0.10, 0.09]), np.array([0.20, 0.20, 0.17])
    expected = gained.sum() / lost.sum()
    half = stats.t.ppf(0.975, 2) * (gained - expected * lost).std(ddof=1) / 3**0.5
    self.assertAlmostEqual(share, expected)
    self.assertAlmostEqual(high - share, half / lost.mean())
    self.assertAlmostEqual(share - low, half / lost.mean())

  def test_ends(self):
    nothing = defense_table.recovered(_POISONED, _POISONED, _CLEAN)
    np.testing.assert_allclose(nothing, 0.0, atol=1e-12)
    np.testing.assert_allclose(defense_table.recovered(_CLEAN, _POISONED, _CLEAN), 1.0)
    self.assertIsNone(defense_table.recovered(_CLEAN, _CLEAN, _CLEAN))
    self.assertIsNone(defense_table.recovered([0.2], [0.1], [0.3]))
    nearly = [0.29, 0.33, 0.27]  # An attack that has taken nothing for certain.
    self.assertIsNone(defense_table.recovered(_POISONED, nearly, _CLEAN))

  def test_interval_covers_as_it_says(self):
    """Of 400 draws of five victims, 95 +- 4.4 % of the intervals have the true share."""
    generator, inside = np.random.default_rng(0), 0
    for _ in range(400):
      poisoned, clean, defended = (
        mean + 0.02 * generator.normal(size=5) for mean in (0.1, 0.3, 0.2)
      )
      _, low, high = defense_table.recovered(defended, poisoned, clean)
      inside += low <= 0.5 <= high
    self.assertAlmostEqual(inside / 400, 0.95, delta=0.044)


class TableTest(absltest.TestCase):
  def test_recovered_shares_of_rows(self):
    none, l2 = _matrix()["columns"]
    self.assertEqual([row["recovered"] for row in l2["rows"]][:1], [None])
    self.assertAlmostEqual(l2["rows"][1]["recovered"], 0.29 / 0.57)
    # An attack that knows the defence is held against PACD that does not.
    self.assertAlmostEqual(l2["rows"][2]["recovered"], (0.1 - 0.11) / 0.19)
    self.assertEqual(none["rows"][1]["recovered"], 0.0)

  def test_cells(self):
    matrix = _matrix()
    self.assertEqual(
      defense_table.cells(matrix, "acr"),
      [
        ("ACR", "clean", "pacd", "pacd, adaptive"),
        ("none", "0.300 ± 0.020", "0.110 ± 0.010", ""),
        ("l2", "0.290 ± 0.010", "0.207 ± 0.012", "0.100 ± 0.020"),
      ],
    )
    (title, *attacks), (name, of_pacd, of_adaptive) = defense_table.recovered_cells(matrix)
    self.assertEqual((title, attacks), ("recovered %", ["pacd", "pacd, adaptive"]))
    self.assertEqual(name, "l2")
    self.assertRegex(of_pacd, r"^51 \[\d+, \d+\]$")
    self.assertStartsWith(of_adaptive, "-5 [")
    self.assertEqual(
      defense_table.removed_cells(matrix)[1], ("l2", *["5.0 / 5.0"] * 2, "0.0 / 0.0")
    )
    for line in defense_table.table(matrix).splitlines():
      self.assertLess(len(line), 110)

  def test_a_part_that_failed_is_a_cell_with_its_reason(self):
    refused, diverged = "part knn: filter 'knn' would remove all", "adaptive/l2: nan"
    matrix = _matrix(
      failed={
        "knn": dict.fromkeys(("clean", "pacd"), refused),
        "l2": {defense_table.ADAPTIVE: diverged},
      }
    )
    self.assertEqual(
      defense_table.cells(matrix, "acr")[2:],
      [
        ("l2", "0.290 ± 0.010", "0.207 ± 0.012", "failed"),
        ("knn", "failed", "failed", ""),
      ],
    )
    self.assertEqual(matrix["columns"][2]["failed"]["pacd"], refused)
    self.assertEqual(matrix["columns"][2]["rows"], [])
    table = defense_table.table(matrix)
    for reason in (refused, diverged):
      self.assertEqual(table.count(f"failed: {reason}\n"), 1)
    self.assertNotIn("knn", defense_page.blind(matrix))
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    (folder / "report").mkdir()
    page = defense_page.write(folder, matrix, origins={}, parts=["none"]).read_text()
    self.assertIn("<li>part knn: filter &#x27;knn&#x27; would remove all</li>", page)

  def test_page_says_what_filters_see(self):
    words = defense_page.blind(_matrix())
    self.assertIn("than where they are clean: l2 (5.0 % where they are clean", words)
    self.assertNotIn("take out more", words)
    words = defense_page.blind(_matrix(half_of_poison=0.5))
    self.assertIn("These take out more of some poison: l2 (5.0 % where they", words)
    self.assertNotIn("no more", words)
    matrix = _matrix()
    del matrix["columns"][1]
    self.assertEqual(defense_page.blind(matrix), "No defence here is a filter.")

  def test_page(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    (folder / "report").mkdir()
    path = defense_page.write(
      folder, _matrix(), origins={"pacd": "the attack"}, parts=["none", "l2"]
    )
    page = path.read_text()
    for words in ("far images are removed", "the attack", "../l2/report", "base64"):
      self.assertIn(words, page)
    self.assertTrue((folder / "report/defenses.png").exists())


if __name__ == "__main__":
  absltest.main()
