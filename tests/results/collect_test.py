"""Results of many runs in one table: numbers as the runs have them."""

import contextlib
import csv
import io
import json
import pathlib
import tempfile

from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.results import collect


def _row(data, acr, epsilon=None):
  mean = sum(acr) / len(acr)
  return {
    "data": data,
    "epsilon": epsilon,
    "norm": "linf" if epsilon else None,
    "split": "test",
    "mode": "fixed",
    "dtype": "float32",
    "n0": 100,
    "n": 1000,
    "alpha": 0.001,
    "bound": "clopper_pearson_one_sided",
    "num_points": 5,
    "num_seeds": len(acr),
    "acr_mean": mean,
    "acr_std": 0.0125,
    "aca_mean": 0.5,
    "aca_std": 0.0,
    "accuracy_mean": 0.975,
    "attack_seconds": None,
    "acr": acr,
  }


def _results(sigma, **changes):
  return {
    "dataset": "digits",
    "target_class": 8,
    "sigma": sigma,
    "model": "linear",
    "training": "gaussian",
    "rows": [_row("clean", [0.25, 0.35]), _row("pacd", [0.1, 0.2], epsilon=0.1)],
  } | changes


class CollectTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self._write("b", _results(0.5), seed=3)
    self._write("a", _results(0.25))
    self._write("c", {"victims": []})  # A transfer, and one of its runs.
    self._write("e", {"columns": ["clean"]})  # Of defences.
    rows = [{"training": "scratch", "data": "clean", "targets": [1]}]
    self._write("f", {"dataset": "digits", "rows": rows})  # Of several targets.
    self._write("c/macer", _results(1.0, training="macer"))
    # A comparison, whose rows are those of its parts.
    parts = [row | {"method": "pacd", "part": "eps"} for row in _results(0.1)["rows"]]
    self._write("d", _results(0.1, rows=parts))

  def _write(self, name, results, seed=None):
    folder = self.root / name
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(results))
    if seed is not None:
      (folder / "config.json").write_text(json.dumps({"seed": seed, "data": {}}))

  def test_all_runs_below_the_folders_once(self):
    lines = collect.collect([self.root, self.root / "a"])
    found = [(line["run"], line["sigma"], line["data"], line["acr_mean"]) for line in lines]
    runs = [(str(self.root / n), s) for n, s in (("a", 0.25), ("b", 0.5), ("c/macer", 1.0))]
    rows = [("clean", 0.3), ("pacd", 0.15000000000000002)]
    self.assertEqual(found, [(*run, *row) for run in runs for row in rows])
    self.assertEqual([line["seed"] for line in lines], [None, None, 3, 3, None, None])

  def test_what_cannot_be_used_is_one_line(self):
    (self.root / "b" / "config.json").write_text("[]")
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()) as out:
      self.assertEqual(collect.main([str(self.root / "b")]), 2)
      tsv = f"--tsv={self.root / 'b' / 'config.json' / 'all.tsv'}"
      self.assertEqual(collect.main([str(self.root / "a"), tsv]), 2)
      for name in ("config.json", "results.json"):  # The second is read first.
        (self.root / "b" / name).write_text("{}")
        self.assertEqual(collect.main([str(self.root / "b")]), 2)
    first, second, *empty = said.getvalue().splitlines()
    self.assertRegex(empty[0], "^error: .*b/config.json is no run's config")
    self.assertRegex(empty[1], "^error: .*b/results.json is damaged")
    self.assertRegex(first, "^error: .*b/config.json is no JSON of a run")
    self.assertRegex(second, "^error: .*all.tsv cannot be written .*choose another file")
    self.assertEmpty(out.getvalue())

  def test_a_certificates_file_is_no_config(self):
    other = json.dumps({"seed": 1, "data": "digits", "sigma": 0.25})
    (self.root / "b" / "config.json").write_text(other)
    with self.assertRaisesRegex(errors.InputError, "b/config.json is no run's config"):
      collect.collect([self.root / "b"])

  def test_the_table(self):
    text = collect.table(collect.collect([self.root / "b"]))
    head, rule, clean, pacd = text.splitlines()
    self.assertEqual(head.split()[:4], ["run", "class", "sigma", "epsilon"])
    self.assertEqual(set(rule), {"-", " "})
    self.assertIn("digits 8", clean)
    self.assertContainsSubset(["0.5", "-", "0.300", "97.5"], clean.split())
    self.assertContainsSubset(["0.1", "(linf)", "0.150", "50.0"], pacd.split())

  def test_the_tsv_has_numbers_unrounded(self):
    path = self.root / "all.tsv"
    with contextlib.redirect_stdout(io.StringIO()) as shown:
      self.assertEqual(collect.main([str(self.root), f"--tsv={path}"]), 0)
    self.assertLen(shown.getvalue().splitlines(), 8)
    with open(path, newline="") as file:
      records = list(csv.DictReader(file, delimiter="\t"))
    self.assertLen(records, 6)
    self.assertEqual(list(records[0]), list(collect.COLUMNS))
    self.assertEqual(float(records[1]["acr_mean"]), 0.15000000000000002)
    self.assertEqual(records[1]["acr"], "0.1,0.2")
    self.assertEqual(records[2]["seed"], "3")

  def test_the_csv_has_the_same_numbers(self):
    tsv, path = self.root / "all.tsv", self.root / "all.csv"
    with contextlib.redirect_stdout(io.StringIO()):
      collect.main([str(self.root), f"--tsv={tsv}", f"--csv={path}"])
    with open(tsv, newline="") as one, open(path, newline="") as other:
      of_tsv, of_csv = (
        list(csv.DictReader(one, delimiter="\t")),
        list(csv.DictReader(other)),
      )
    self.assertLen(of_csv, 6)
    for line in of_csv:
      line["acr"] = line["acr"].replace(" ", ",")
    self.assertEqual(of_csv, of_tsv)

  def test_of_ensembles_there_are_columns_at_each_number_of_images(self):
    row = _row("clean", [0.25])
    row["ensemble"] = {
      "unit": "replaced images",
      "median_mean": 3.5,
      "levels": [{"poisoned_images": m, "acr_mean": 1.0 / m} for m in (2, 10)],
    }
    self._write("g", _results(0.25, rows=[row]))
    path = self.root / "all.csv"
    with contextlib.redirect_stdout(io.StringIO()):
      self.assertEqual(collect.main([str(self.root), f"--csv={path}"]), 0)
    with open(path, newline="") as file:
      *others, line = csv.DictReader(file)
    levels = ["acr_poisoned_2", "acr_poisoned_10"]
    self.assertEqual(list(line), [*collect.COLUMNS, *levels])
    own = ["median_radius", "poisoning_unit", *levels]
    self.assertEqual([line[name] for name in own], ["3.5", "replaced images", "0.5", "0.1"])
    self.assertEqual({each[name] for each in others for name in own}, {""})

  def test_the_latex_has_the_table_s_cells(self):
    path = self.root / "all.tex"
    with contextlib.redirect_stdout(io.StringIO()) as shown:
      self.assertEqual(collect.main([str(self.root / "b"), f"--latex={path}"]), 0)
    lines = path.read_text().splitlines()
    self.assertEqual(lines[0], r"\begin{tabular}{lllllllrrr}")
    self.assertEqual(lines[-1], r"\end{tabular}")
    rows = [line for line in lines if line.endswith(r" \\")]
    self.assertLen(rows, 3)
    self.assertIn(r"ACA \%", rows[0])
    self.assertIn(r"0.150 $\pm$", rows[2])
    self.assertLen(shown.getvalue().splitlines(), 4)

  @parameterized.parameters(
    ("none", "none is no folder"),
    ("empty", "empty has no results.json below it"),
    ("half", "results.json is no JSON"),
    ("older", "results.json is damaged, or of another version .'sigma'"),
  )
  def test_bad_input(self, name, message):
    (self.root / "empty").mkdir()
    self._write("half", {})
    (self.root / "half" / "results.json").write_text('{"rows": [')
    self._write("older", {"rows": []} | {"dataset": "digits", "target_class": 8})
    with self.assertRaisesRegex(errors.InputError, message):
      collect.collect([self.root / name])
    with contextlib.redirect_stderr(io.StringIO()) as said:
      self.assertEqual(collect.main([str(self.root / name)]), 2)
    self.assertRegex(said.getvalue(), rf"\Aerror: [^\n]*{message}[^\n]*\n\Z")


if __name__ == "__main__":
  absltest.main()
