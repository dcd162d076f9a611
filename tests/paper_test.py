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

from pacd_jax import errors, experiment, settings
from pacd_jax.paper import __main__ as paper
from pacd_jax.paper import catalog, empirical, lines, protocol, published, render, work
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
      acr, aca = [], []
      for path in sorted((self.run_folder / "certificates" / row).glob("seed_?.tsv")):
        points = _tsv(path)
        radii = [float(p["radius"]) * (p["label"] == p["predict"]) for p in points]
        acr.append(np.mean(radii))
        aca.append(np.mean(np.array(radii) > 0.0))
      self.assertLen(acr, 2)
      for quantity, values in (("acr", acr), ("aca", aca)):
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
      folder, acr = self.run_folder / "other_classes" / line["training_set"], []
      for path in sorted(folder.glob("seed_?.tsv")):
        points = _tsv(path)
        self.assertNotIn("8", [p["label"] for p in points])
        acr.append(
          np.mean([float(p["radius"]) * (p["label"] == p["predict"]) for p in points])
        )
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
    def radii(row):
      files = sorted((self.run_folder / "certificates" / row).glob("seed_?.tsv"))
      right = [
        [float(p["radius"]) * (p["label"] == p["predict"]) for p in _tsv(path)]
        for path in files
      ]
      return np.mean(right, axis=0)

    for line in self.table("paired"):
      expected = (radii(line["training_set"]) - radii("clean")).mean()
      self.assertAlmostEqual(float(line["mean"]), expected)
      self.assertLessEqual(float(line["low"]), expected + 1e-12)
      self.assertGreaterEqual(float(line["high"]), expected - 1e-12)

  def test_distances_are_those_of_the_poison_file(self):
    lines = self.table("detectability")
    found = {line["quantity"]: line for line in lines if line["training_set"] == "pacd"}
    with np.load(self.run_folder / "poison/pacd.npz", allow_pickle=False) as poison:
      images, base = (poison[name] / 255.0 for name in ("images", "base_images"))
    l2 = np.sqrt(((images - base) ** 2).sum((1, 2, 3)))
    linf = np.abs(images - base).max((1, 2, 3))
    self.assertAlmostEqual(float(found["l2"]["mean"]), l2.mean())
    self.assertAlmostEqual(float(found["linf"]["mean"]), linf.mean())

  def test_the_page_marks_what_has_not_been_run(self):
    self.assertIn("Not run yet: ga_sigma=0.5, ga_sigma=0.75.", self.page)
    self.assertIn("| 0.5 | pacd | not run |", self.page)
    self.assertIn("Not run: `python -m pacd_jax.paper run table3", self.page)
    self.assertIn("cores of", self.page)

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


class CatalogTest(parameterized.TestCase):
  @parameterized.product(dataset=protocol.DATASETS, scale=protocol.SCALES)
  def test_every_run_is_a_config_that_can_be_used(self, dataset, scale):
    place, by_name = Protocol(dataset, scale, pathlib.Path("runs")), {}
    for item in paper.ITEMS.values():
      runs = work.in_order(item.runs(place))
      for run in runs:
        values = place.config(run).to_dict()
        settings.check(values)
        self.assertEqual(by_name.setdefault(run.name, values), values)
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
    config = there.config(run).to_dict()
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
    (path / "config.json").write_text(json.dumps(place.config(run).to_dict()))
    self.assertFalse(place.is_finished(run))
    made.write_bytes(b"another")
    with self.assertRaisesRegex(errors.InputError, "pacd.npz has changed since .* move"):
      place.is_finished(run)

  def test_runs_that_lack_the_poison_of_a_failed_one_do_not_stop_the_others(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    place, tried = Protocol("digits", "smoke", folder), []

    def run(config, workdir):
      tried.append(workdir.name)
      raise errors.NonFiniteError("its loss is nan")

    items = [paper.ITEMS["recovery"], paper.ITEMS["points"]]
    with (
      mock.patch.object(experiment, "run", run),
      mock.patch.object(experiment, "build"),
      mock.patch.object(work.progress, "note"),
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

  def test_a_config_that_is_not_here_says_where_to_be(self):
    place = Protocol("digits", "smoke", pathlib.Path("runs"))
    with self.assertRaisesRegex(errors.InputError, "in the repository's folder"):
      place.config(protocol.Run("any", "elsewhere"))


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
