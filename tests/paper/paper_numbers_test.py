"""Every number on the page, computed anew from the files of its run."""

import csv
import json
import pathlib
import tempfile

import made_up_run
import numpy as np
import pytest
import smoke_tables
from absl.testing import absltest, parameterized
from scipy import stats
from ssim_by_definition import ssim

from pacd_jax.paper import __main__ as paper
from pacd_jax.paper import analyses, claims, lines, render


def _radii(folder):
  """Certified radii `[victims, points]`, 0 where the class is wrong."""
  return np.array(
    [
      [float(p["radius"]) * (p["label"] == p["predict"]) for p in smoke_tables.tsv(path)]
      for path in sorted(folder.glob("seed_?.tsv"))
    ]
  )


@pytest.mark.long
class NumbersTest(smoke_tables.TestCase):
  def table(self, name):
    path = self.folder / f"docs/reproduction/digits_smoke_{name}.csv"
    with open(path, newline="") as file:
      return [line for line in csv.DictReader(file) if line["mean"]]

  def test_numbers_are_those_of_the_tsv_files(self):
    found = {}
    for line in self.table("table2"):
      found[line["training_set"], line["quantity"]] = line
    for row in ("clean", "watermark", "classwise", "brightness", "pacd"):
      radii = _radii(self.run_folder / "certificates" / row)
      self.assertLen(radii, 2)
      for quantity, values in (("acr", radii.mean(1)), ("aca", (radii > 0.0).mean(1))):
        line = found[row, quantity]
        self.assertAlmostEqual(float(line["mean"]), np.mean(values))
        self.assertAlmostEqual(float(line["std"]), np.std(values, ddof=1))
        error = np.std(values, ddof=1) / np.sqrt(2)
        self.assertAlmostEqual(float(line["standard_error"]), error)

  def test_verdicts_are_of_the_tsv_files(self):
    """The page's first claim: both ACR, and which of them decides."""
    clean, pacd = (
      _radii(self.run_folder / "certificates" / row).mean() for row in ("clean", "pacd")
    )
    judged = claims.judge(self.place, claims.CLAIMS[0])
    self.assertEqual(judged.num_missing, 8)
    if clean == 0.0:  # At the smallest size there is nothing to lose.
      self.assertEqual(judged.verdict, "not run")
      self.assertIn("- digits, smoke: not run.", self.page)
    else:
      self.assertIn(f" {clean:.3f} to {pacd:.3f} ", judged.numbers)
      self.assertEqual(judged.verdict == "held", pacd < 0.7 * clean)

  def test_distortions_are_those_of_the_tsv_files(self):
    lines = self.table("table5")
    self.assertLen(lines, 2)
    for line in lines:
      folder = self.run_folder / "distortion" / line["training_set"]
      means = []
      for path in sorted(folder.glob("seed_?.tsv")):
        means.append(np.mean([float(p["distance"]) for p in smoke_tables.tsv(path)]))
      self.assertAlmostEqual(float(line["mean"]), np.mean(means))

  def test_other_classes_are_those_of_the_tsv_files(self):
    lines = [line for line in self.table("classes") if line["quantity"] == "acr_others"]
    self.assertEqual([line["training_set"] for line in lines], ["clean", "pacd"])
    for line in lines:
      folder = self.run_folder / "other_classes" / line["training_set"]
      for path in folder.glob("seed_?.tsv"):
        self.assertNotIn("8", [p["label"] for p in smoke_tables.tsv(path)])
      acr = _radii(folder).mean(1)
      self.assertLen(acr, 2)
      self.assertAlmostEqual(float(line["mean"]), np.mean(acr))
      self.assertAlmostEqual(float(line["std"]), np.std(acr, ddof=1))

  def test_paired_differences_are_those_of_the_tsv_files(self):
    folder = self.run_folder / "certificates"
    for line in self.table("paired"):
      expected = (_radii(folder / line["training_set"]) - _radii(folder / "clean")).mean()
      self.assertAlmostEqual(float(line["mean"]), expected)

  def test_ends_of_paired_intervals_are_those_of_the_tsv_files(self):
    """Drawn one by one, where the page's are by products of matrices."""
    folder = self.run_folder / "certificates"
    self.assertLen(self.table("paired"), 4)
    for line in self.table("paired"):
      differences = _radii(folder / line["training_set"]) - _radii(folder / "clean")
      generator, drawn = np.random.default_rng(1), []
      victims, points = (np.arange(size) for size in differences.shape)
      for _ in range(10_000):
        chosen = (generator.choice(each, len(each) - 1) for each in (victims, points))
        drawn.append(differences[np.ix_(*chosen)].mean())
      half = stats.t.ppf(0.975, len(victims) - 1) * np.std(drawn)
      # Other draws: the standard deviation of 10,000 is known to 1 % or so.
      for end, sign in (("low", -1.0), ("high", 1.0)):
        expected = differences.mean() + sign * half
        self.assertAlmostEqual(float(line[end]), expected, delta=0.05 * half + 1e-9)

  def test_ratios_to_the_best_are_those_of_the_tsv_files(self):
    rows = ("clean", "watermark", "classwise", "pacd")
    with tempfile.TemporaryDirectory() as folder:
      made = pathlib.Path(folder)
      made_up_run.make_run(made, rows)
      found = analyses.read("against_best", made, rows)
      acr = {row: _radii(made / "certificates" / row).mean() for row in rows}
    self.assertEqual(set(found), {"pacd"})
    ratio = found["pacd"]["of_best"]
    self.assertAlmostEqual(ratio.mean, acr["pacd"] / acr["classwise"])
    self.assertLess(acr["classwise"], acr["watermark"])
    self.assertBetween(ratio.mean, ratio.low, ratio.high)

  def test_accuracies_are_those_of_the_sidecars(self):
    """Noise-free accuracy has no radius: it is beside the TSV, one number a victim."""
    for row in ("clean", "pacd"):
      sidecars = sorted((self.run_folder / "certificates" / row).glob("seed_?.json"))
      values = [json.loads(path.read_text())["class_accuracy"] for path in sidecars]
      found = lines.certified(self.run_folder, row)["class_accuracy"]
      self.assertEqual(found.number, 2)
      self.assertAlmostEqual(found.mean, np.mean(values))
      self.assertAlmostEqual(found.std, np.std(values, ddof=1))

  @parameterized.parameters("watermark", "classwise", "brightness", "pacd")
  def test_distances_are_those_of_the_poison_file(self, row):
    lines = self.table("detectability")
    found = {line["quantity"]: line for line in lines if line["training_set"] == row}
    with np.load(self.run_folder / f"poison/{row}.npz", allow_pickle=False) as poison:
      images, base = (poison[name] / 255.0 for name in ("images", "base_images"))
    axes = (1, 2, 3)
    expected = {
      "l2": np.sqrt(((images - base) ** 2).sum(axes)),
      "linf": np.abs(images - base).max(axes),
      "psnr": 10.0 * np.log10(1.0 / ((images - base) ** 2).mean(axes)),
      "ssim": [
        np.mean([ssim(u[..., c], x[..., c]) for c in range(u.shape[-1])])
        for u, x in zip(images, base, strict=True)
      ],
    }
    self.assertEqual(set(found), set(expected))
    for quantity, values in expected.items():
      line = found[quantity]
      self.assertAlmostEqual(float(line["mean"]), np.mean(values))
      self.assertAlmostEqual(float(line["std"]), np.std(values, ddof=1))

  @parameterized.parameters(*smoke_tables.TABLES, "classes")
  def test_the_page_s_cells_are_the_numbers_of_the_csv(self, name):
    title = f"### {paper.ITEMS[name].title}\n"
    section = self.page.split(title)[1].split("\n### ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| ")]
    cells = {cell.split()[0] for row in rows[2:] for cell in row}
    self.assertNotEmpty(self.table(name))
    for line in self.table(name):
      _, scale, digits = render.QUANTITIES[line["quantity"]]
      self.assertIn(f"{scale * float(line['mean']):.{digits}f}", cells)


if __name__ == "__main__":
  absltest.main()
