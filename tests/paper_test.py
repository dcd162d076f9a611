"""The paper's tables by name: their runs, the page, and every number on it."""

import contextlib
import csv
import io
import json
import pathlib
import shutil
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized
from scipy import stats

from pacd_jax import errors, experiment
from pacd_jax.paper import __main__ as paper
from pacd_jax.paper import catalog, empirical, lines, render
from pacd_jax.paper.protocol import Protocol

_TABLES = ("table2", "table5", "detectability", "paired")


def _command(*arguments):
  """The command's status, and what it says."""
  out, said = io.StringIO(), io.StringIO()
  with (
    mock.patch.object(paper.sharding, "cores_as_devices"),  # JAX has its devices.
    mock.patch.object(paper.preemption, "install"),
    mock.patch.object(paper.signal, "signal"),
    contextlib.redirect_stdout(out),
    contextlib.redirect_stderr(said),
  ):
    status = paper.main([str(argument) for argument in arguments])
  return status, out.getvalue(), said.getvalue()


def _tsv(path):
  """A certificate's lines, read by nothing of the package."""
  with open(path, newline="") as file:
    return list(csv.DictReader(file, delimiter="\t"))


def _radii(folder):
  """Certified radii `[victims, points]`, 0 where the class is wrong."""
  return np.array(
    [
      [float(p["radius"]) * (p["label"] == p["predict"]) for p in _tsv(path)]
      for path in sorted(folder.glob("seed_?.tsv"))
    ]
  )


def _ssim(image, other):
  """Wang et al. (2004), pixel by pixel: an 11x11 Gaussian window, mirrored at borders."""
  offsets = np.arange(-5, 6)
  window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2.0 * 1.5**2))
  window = (window / window.sum())[..., None]
  pads = ((5, 5), (5, 5), (0, 0))
  image, other = (np.pad(each, pads, mode="reflect") for each in (image, other))
  values = []
  for row, column in np.ndindex(image.shape[0] - 10, image.shape[1] - 10):
    a, b = (each[row : row + 11, column : column + 11] for each in (image, other))
    mean_a, mean_b = (window * a).sum((0, 1)), (window * b).sum((0, 1))
    var_a = (window * (a - mean_a) ** 2).sum((0, 1))
    var_b = (window * (b - mean_b) ** 2).sum((0, 1))
    covariance = (window * (a - mean_a) * (b - mean_b)).sum((0, 1))
    means = (2.0 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    values.append(means * (2.0 * covariance + 9e-4) / (var_a + var_b + 9e-4))
  return np.mean(values)


class PaperTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls._temporary = tempfile.TemporaryDirectory()
    cls.folder = pathlib.Path(cls._temporary.name)
    cls.arguments = (
      *("run", *_TABLES, "--smoke", "--only=sigma=0.25"),
      *(f"--runs_dir={cls.folder / 'runs'}", f"--out={cls.folder / 'docs'}"),
    )
    cls.status, _, cls.said = _command(*cls.arguments)
    _command("run", "classes", "--smoke", "--only=class=8", *cls.arguments[-2:])
    cls.place = Protocol("digits", "smoke", cls.folder / "runs")
    cls.page = (cls.folder / "docs/reproduction.md").read_text()
    cls.run_folder = cls.folder / "runs/digits_smoke/ga_sigma=0.25"

  @classmethod
  def tearDownClass(cls):
    cls._temporary.cleanup()
    super().tearDownClass()

  def table(self, name):
    path = self.folder / f"docs/reproduction/digits_smoke_{name}.csv"
    with open(path, newline="") as file:
      return [line for line in csv.DictReader(file) if line["mean"]]

  def test_runs_what_the_tables_need_once(self):
    self.assertEqual(self.status, 0, self.said)
    self.assertEqual(self.said.count("ga_sigma=0.25 (1 of 1 runs)"), 1)
    runs = [path.name for path in (self.folder / "runs/digits_smoke").iterdir()]
    self.assertEqual(runs, ["ga_sigma=0.25"])
    made = json.loads((self.run_folder / "paper.json").read_text())
    self.assertEqual(made["config"], "configs/digits_ga.py:smoke,sigma=0.25")
    self.assertGreater(made["seconds"], 0.0)

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

  def test_distortions_are_those_of_the_tsv_files(self):
    lines = self.table("table5")
    self.assertLen(lines, 2)
    for line in lines:
      folder = self.run_folder / "distortion" / line["training_set"]
      means = []
      for path in sorted(folder.glob("seed_?.tsv")):
        means.append(np.mean([float(p["distance"]) for p in _tsv(path)]))
      self.assertAlmostEqual(float(line["mean"]), np.mean(means))

  def test_other_classes_are_those_of_the_tsv_files(self):
    lines = [line for line in self.table("classes") if line["quantity"] == "acr_others"]
    self.assertEqual([line["training_set"] for line in lines], ["clean", "pacd"])
    for line in lines:
      folder = self.run_folder / "other_classes" / line["training_set"]
      for path in folder.glob("seed_?.tsv"):
        self.assertNotIn("8", [p["label"] for p in _tsv(path)])
      acr = _radii(folder).mean(1)
      self.assertLen(acr, 2)
      self.assertAlmostEqual(float(line["mean"]), np.mean(acr))
      self.assertAlmostEqual(float(line["std"]), np.std(acr, ddof=1))

  @parameterized.parameters(*_TABLES, "classes")
  def test_the_page_s_cells_are_the_numbers_of_the_csv(self, name):
    title = f"### {paper.ITEMS[name].title}\n"
    section = self.page.split(title)[1].split("\n### ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| ")]
    cells = {cell.split()[0] for row in rows[2:] for cell in row}
    self.assertNotEmpty(self.table(name))
    for line in self.table(name):
      _, scale, digits = render.QUANTITIES[line["quantity"]]
      self.assertIn(f"{scale * float(line['mean']):.{digits}f}", cells)

  def test_a_certificate_that_is_gone_is_made_again(self):
    (path, *others) = sorted((self.run_folder / "certificates/clean").glob("seed_0*"))
    before = {each: each.read_text() for each in (path, *others)}
    for each in before:
      each.unlink()
    self.assertFalse(self.place.is_finished(catalog.MAIN))
    status, _, said = _command(*self.arguments)
    self.assertEqual(status, 0, said)
    (tsv,) = [each for each in before if each.name == "seed_0.tsv"]
    radii = [[p["radius"] for p in _tsv(tsv)]]
    radii.append([line.split("\t")[3] for line in before[tsv].splitlines()[1:]])
    self.assertEqual(*radii)

  def test_a_folder_in_use_is_not_measured(self):
    elsewhere = experiment.load(self.run_folder)
    with (
      mock.patch.object(empirical, "_FOLDER", "anew"),
      elsewhere.folder,
      self.assertRaisesRegex(errors.InputError, "in use by another process"),
    ):
      empirical.measure(self.run_folder, ["clean"])

  def test_distortions_of_another_search_are_not_mixed_in(self):
    with mock.patch.object(empirical, "SEARCH", empirical.SEARCH._replace(num_steps=3)):
      status, _, said = _command(*self.arguments)
    self.assertEqual(status, 2)
    self.assertRegex(said, "seed_0.tsv was measured by another search")

  def test_paired_differences_are_those_of_the_tsv_files(self):
    folder = self.run_folder / "certificates"
    for line in self.table("paired"):
      expected = (_radii(folder / line["training_set"]) - _radii(folder / "clean")).mean()
      self.assertAlmostEqual(float(line["mean"]), expected)

  def test_ends_of_paired_intervals_are_those_of_the_tsv_files(self):
    """Drawn one by one, where the page's are by products of matrices."""
    folder = self.run_folder / "certificates"
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
      "ssim": [_ssim(*pair) for pair in zip(images, base, strict=True)],
    }
    self.assertEqual(set(found), set(expected))
    for quantity, values in expected.items():
      line = found[quantity]
      self.assertAlmostEqual(float(line["mean"]), np.mean(values))
      self.assertAlmostEqual(float(line["std"]), np.std(values, ddof=1))

  def test_the_page_marks_what_has_not_been_run(self):
    self.assertIn("Not run yet: ga_sigma=0.5, ga_sigma=0.75.", self.page)
    self.assertIn("| 0.5 | pacd | not run |", self.page)
    self.assertIn("Not run: `python -m pacd_jax.paper run table3", self.page)
    self.assertIn("cores of", self.page)

  def test_the_page_names_the_data_and_scales_it_has_nothing_of(self):
    self.assertIn(
      "\nNo run yet: digits, full; mnist, full; cifar10, full; digits, fast; "
      "mnist, fast; cifar10, fast.\n",
      self.page,
    )

  def test_the_page_says_how_many_runs_and_samples(self):
    self.assertRegex(self.page, "\n1 of 46 runs are finished; they took [01] minutes")
    (path, *_) = (self.run_folder / "certificates/clean").glob("seed_?.json")
    made = json.loads(path.read_text())
    words = f"n0 = {made['n0']}, n = {made['n']}, alpha = {made['alpha']}, bound"
    self.assertIn(f"points of the test split, 2 victims a training set, {words}", self.page)

  def test_latex_has_the_page_s_cells(self):
    path = self.folder / "docs/reproduction/digits_smoke_table2.tex"
    lines = path.read_text().splitlines()
    self.assertEqual(lines[0].count("l}"), 0)
    self.assertEqual(sum(line.endswith(r"\\") for line in lines), 1 + 3 * 5)
    self.assertNotRegex("\n".join(lines), r"(?<!\\)[%_]")

  def test_a_second_time_nothing_is_run(self):
    with mock.patch.object(experiment, "run") as run:
      status, _, said = _command(*self.arguments)
    self.assertEqual((status, said), (0, ""))
    run.assert_not_called()

  def test_another_protocol_is_not_mixed_in(self):
    with tempfile.TemporaryDirectory() as folder:
      copy = pathlib.Path(folder, "digits_fast")
      shutil.copytree(self.folder / "runs/digits_smoke", copy)
      options = (f"--runs_dir={folder}", f"--out={folder}")
      for command in (("run", "table2", "--fast"), ("render",)):
        status, _, said = _command(*command, *options)
        self.assertEqual(status, 2)
        self.assertRegex(said, "another protocol.*train.num_victims is 2 there and 5 here")
        self.assertEqual(said.count("\n"), 1)

  @parameterized.parameters(
    (("run", "table9"), "no table 'table9': use all, or some of table1"),
    (("run", "table2", "--only=sigma"), "write SETTING=VALUE"),
    (
      ("run", "table2", "--only=sigma=7"),
      "no run of these tables has sigma=7: they have sigma=0.25, sigma=0.5",
    ),
    (("run", "table2", "--fats"), "--fats"),
    (("render", "--runs_dir=/nowhere"), "/nowhere has no runs"),
    (("render", "--runs_dir=configs", "--out=README.md/docs"), "configs has no runs"),
    (("run", "table2", "--dataset=mnist", "--data_dir=/nowhere"), "/nowhere"),
  )
  def test_bad_input_is_one_line(self, arguments, words):
    status, out, said = _command(*arguments)
    self.assertEqual((status, out), (2, ""))
    self.assertStartsWith(said, "error: ")
    self.assertIn(words, said)
    self.assertEqual(said.count("\n"), 1)

  def test_a_page_that_cannot_be_written_is_one_line(self):
    status, _, said = _command(
      "render", f"--runs_dir={self.folder / 'runs'}", "--out=README.md/docs"
    )
    self.assertEqual(status, 2)
    self.assertRegex(said, "^error: README.md/docs.*Not a directory\n$")

  def test_list_names_every_table(self):
    _, out, _ = _command("list")
    names = [line.split()[0] for line in out.splitlines()]
    self.assertEqual(names, list(paper.ITEMS))


if __name__ == "__main__":
  absltest.main()
