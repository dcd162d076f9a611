"""The paper's tables by name: what the command runs, refuses, and marks on the page."""

import json
import pathlib
import shutil
import tempfile
from unittest import mock

import pytest
import smoke_tables
from absl.testing import absltest, parameterized
from scipy import stats

from pacd_jax import errors
from pacd_jax.experiment import door
from pacd_jax.paper import __main__ as paper
from pacd_jax.paper import catalog, empirical
from pacd_jax.suites import runner

_MEASURED = ("distance", "found")


@pytest.mark.long
class PaperTest(smoke_tables.TestCase):
  def test_runs_what_the_tables_need_once(self):
    self.assertEqual(self.status, 0, self.said)
    self.assertEqual(self.said.count("ga_sigma=0.25 (1 of 1 runs)"), 1)
    runs = [path.name for path in (self.folder / "runs/digits_smoke").iterdir()]
    self.assertEqual(runs, ["ga_sigma=0.25"])
    made = json.loads((self.run_folder / "paper.json").read_text())
    self.assertEqual(made["config"], "configs/digits_ga.py:smoke,sigma=0.25")
    self.assertGreater(made["seconds"], 0.0)

  @pytest.mark.long
  def test_a_certificate_that_is_gone_is_made_again(self):
    (path, *others) = sorted((self.run_folder / "certificates/clean").glob("seed_0*"))
    before = {each: each.read_text() for each in (path, *others)}
    for each in before:
      each.unlink()
    self.assertFalse(self.place.is_finished(catalog.MAIN))
    status, _, said = smoke_tables.command(*self.arguments)
    self.assertEqual(status, 0, said)
    (tsv,) = [each for each in before if each.name == "seed_0.tsv"]
    radii = [[p["radius"] for p in smoke_tables.tsv(tsv)]]
    radii.append([line.split("\t")[3] for line in before[tsv].splitlines()[1:]])
    self.assertEqual(*radii)

  def test_a_folder_in_use_is_not_measured(self):
    elsewhere = door.load(self.run_folder)
    with (
      mock.patch.object(empirical, "_FOLDER", "anew"),
      elsewhere.folder,
      self.assertRaisesRegex(errors.InputError, "in use by another process"),
    ):
      empirical.measure(self.run_folder, ["clean"])

  def test_distortions_of_another_search_are_not_mixed_in(self):
    with mock.patch.object(empirical, "SEARCH", empirical.SEARCH._replace(num_votes=3)):
      status, _, said = smoke_tables.command(*self.arguments)
    self.assertEqual(status, 2)
    self.assertRegex(said, "seed_0.tsv was measured by another search")

  def test_table_5_by_another_attack_stands_beside_the_paper_s(self):
    table = "### Table 5: empirical robustness"
    with tempfile.TemporaryDirectory() as folder:
      runs = pathlib.Path(folder, "runs")
      shutil.copytree(self.folder / "runs", runs)
      given = "--smoke", "--only=sigma=0.25", f"--runs_dir={runs}", f"--out={folder}"
      status, _, said = smoke_tables.command("run", "table5", "--attack=fgsm", *given)
      self.assertEqual(status, 0, said)
      page = pathlib.Path(folder, "reproduction.md").read_text()
      (found,) = runs.glob("*/*/distortion_fgsm/pacd/seed_0.tsv")
      self.assertEqual(smoke_tables.tsv(found)[0].keys(), {"idx", "label", *_MEASURED})
      smoke_tables.command("render", *given[2:])
      without = pathlib.Path(folder, "reproduction.md").read_text()
    self.assertIn(f"{table} by fgsm\n", page)
    self.assertNotIn(" by fgsm", without)
    sections = [text.split(f"{table}\n")[1].split("\n### ")[0] for text in (page, without)]
    self.assertEqual(*sections)

  def test_the_page_marks_what_has_not_been_run(self):
    self.assertIn("Not run yet: ga_sigma=0.12, ga_sigma=0.18.", self.page)
    self.assertIn("| 0.18 | pacd | not run |", self.page)
    self.assertIn("Not run: `pacd paper run table3", self.page)
    self.assertIn("cores of", self.page)

  def test_the_page_names_the_data_and_scales_it_has_nothing_of(self):
    self.assertIn(
      "\nNo run yet: digits, full; mnist, full; cifar10, full; mnist, paper; "
      "cifar10, paper; digits, fast; mnist, fast; cifar10, fast.\n",
      self.page,
    )

  def test_the_page_says_how_many_runs_and_samples(self):
    self.assertRegex(self.page, "\n1 of 68 runs are finished; they took [01] minutes")
    (path, *_) = (self.run_folder / "certificates/clean").glob("seed_?.json")
    made = json.loads(path.read_text())
    words = f"n0 = {made['n0']}, n = {made['n']}, alpha = {made['alpha']}, bound"
    self.assertIn(f"points of the test split, 2 victims a training set, {words}", self.page)
    cap = stats.norm.ppf(made["alpha"] ** (1.0 / made["n"]))
    self.assertIn(f"; no radius can exceed {cap:.2f} sigma.", self.page)

  def test_latex_has_the_page_s_cells(self):
    path = self.folder / "docs/reproduction/digits_smoke_table2.tex"
    lines = path.read_text().splitlines()
    self.assertEqual(lines[0].count("l}"), 0)
    self.assertEqual(sum(line.endswith(r"\\") for line in lines), 1 + 3 * 5)
    self.assertNotRegex("\n".join(lines), r"(?<!\\)[%_]")

  def test_a_second_time_nothing_is_run(self):
    with mock.patch.object(runner.stages, "run_alone") as one:
      status, _, said = smoke_tables.command(*self.arguments)
    self.assertEqual((status, said), (0, ""))
    one.assert_not_called()

  def test_another_protocol_is_not_mixed_in(self):
    with tempfile.TemporaryDirectory() as folder:
      copy = pathlib.Path(folder, "digits_fast")
      shutil.copytree(self.folder / "runs/digits_smoke", copy)
      options = (f"--runs_dir={folder}", f"--out={folder}")
      for command in (("run", "table2", "--fast"), ("render",)):
        status, _, said = smoke_tables.command(*command, *options)
        self.assertEqual(status, 2)
        self.assertRegex(said, "another protocol.*train.num_victims is 2 there and 5 here")
        self.assertEqual(said.count("\n"), 1)

  @parameterized.parameters(
    (("run", "table9"), "no table 'table9': use all, or some of table1"),
    (("run", "table2", "--only=sigma"), "write SETTING=VALUE"),
    (
      ("run", "table2", "--only=sigma=7"),
      "no run of these tables has sigma=7: they have sigma=0.12, sigma=0.18",
    ),
    (("run", "table2", "--fats"), "--fats"),
    (("run", "table2", "--paper"), "digits has no scale paper: use one of full, fast"),
    (("render", "--runs_dir=/nowhere"), "/nowhere has no runs"),
    (("render", "--runs_dir=configs", "--out=README.md/docs"), "configs has no runs"),
    (("run", "table2", "--dataset=mnist", "--data_dir=/nowhere"), "/nowhere"),
  )
  def test_bad_input_is_one_line(self, arguments, words):
    status, out, said = smoke_tables.command(*arguments)
    self.assertEqual((status, out), (2, ""))
    self.assertStartsWith(said, "error: ")
    self.assertIn(words, said)
    self.assertEqual(said.count("\n"), 1)

  def test_a_page_that_cannot_be_written_is_one_line(self):
    status, _, said = smoke_tables.command(
      "render", f"--runs_dir={self.folder / 'runs'}", "--out=README.md/docs"
    )
    self.assertEqual(status, 2)
    self.assertRegex(said, "^error: README.md/docs.*Not a directory\n$")

  def test_list_names_every_table(self):
    _, out, _ = smoke_tables.command("list")
    names = [line.split()[0] for line in out.splitlines()]
    self.assertEqual(names, list(paper.ITEMS))


if __name__ == "__main__":
  absltest.main()
