"""The report of a made-up run: one page, complete, safe, and true to its files."""

import html.parser
import json
import os
import pathlib
import tempfile

import long
import made_up_run
import matplotlib
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.results import evaluate, pictures, report


class _Page(html.parser.HTMLParser):
  """Tags with their attributes, the text, and whether every tag is closed."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.open, self.words = [], [], []
    self.feed(text)
    self.close()

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if tag not in ("meta", "img"):
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag, f"</{tag}> closes nothing"

  def handle_data(self, data):
    self.words.append(data)

  @property
  def text(self):
    return " ".join(" ".join(self.words).split())

  def attributes(self, wanted):
    return [attributes for tag, attributes in self.tags if tag == wanted]


def _pictures(folder):
  return {path.stem for path in folder.glob("*.png")}


class WholeRunTest(absltest.TestCase):
  """The report of a run with all rows, written once."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    workdir = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
    cls.results = made_up_run.make_run(workdir, made_up_run.ROWS)
    path = report.write(workdir)
    cls.source, cls.folder = path.read_text(encoding="utf-8"), path.parent
    cls.page = _Page(cls.source)

  @pytest.mark.long
  def test_candidates_are_told_with_their_costs(self):
    path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), "selection.json")
    self.assertEqual(report._selection(path), "")
    each = {"name": "away_4", "acr": [0.25, 0.5]}
    each |= {"attack_seconds": 12.0, "seconds": 3.5}
    path.write_text(json.dumps({"candidates": [each], "chosen": "away_4"}))
    told = report._selection(path)
    for words in ("away_4 (chosen)", "0.250, 0.500", "12.0", "3.5"):
      self.assertIn(words, told)
    path.write_text("{}")
    with self.assertRaisesRegex(errors.InputError, "selection.json is damaged"):
      report._selection(path)

  def test_page_needs_nothing_beside_itself(self):
    page = self.page
    self.assertEmpty(page.open)
    self.assertLess(len(self.source), 3e6)
    self.assertEqual(page.attributes("script"), [{}])
    self.assertNotIn("link", [tag for tag, _ in page.tags])
    for _, attributes in page.tags:
      self.assertNotIn("href", attributes)
      self.assertStartsWith(attributes.get("src", "data:"), "data:")
    for remote in ("http:", "https:", "url(", "@import"):
      self.assertNotIn(remote, self.source)

  def test_page_names_every_row_with_its_numbers(self):
    text = self.page.text
    for row in self.results["rows"]:
      acr = f"{row['acr_mean']:.3f} ± {row['acr_std']:.3f}"
      self.assertRegex(text, rf"{row['data']}\s+{acr}")
      self.assertIn(", ".join(f"{value:.3f}" for value in row["acr"]), text)
    self.assertNotIn("at most n", text)
    for words in (
      "ε = 0.1 (linf) from its original",
      "σ = 0.25",
      "n 0 = 100 noisy copies",
      "n = 1,000 others",
      "bound: clopper_pearson_one_sided",
      "α = 0.001",
      "number of victims: 3",
      "number of test points: 12",
      "arXiv:2012.01274",
    ):
      self.assertIn(words, text)

  def test_every_picture_is_in_the_page_with_words(self):
    images = self.page.attributes("img")
    expected = ["attack", "certified_accuracy", "overview", "top_probability"]
    expected += [f"gallery_{name}" for name in made_up_run.ROWS if name != "clean"]
    self.assertEqual(_pictures(self.folder), set(expected))
    self.assertLen(images, 7)
    self.assertLen({image["src"] for image in images}, 7)
    for image in images:
      self.assertStartsWith(image["src"], "data:image/png;base64,iVBORw0KGgo")
      self.assertGreater(len(image["alt"]), 30)

  def test_headline_compares_the_worst_row_with_clean(self):
    percent = evaluate.percent_of_clean(self.results)[-1]
    self.assertIn(f"{percent:.0f} % of it", self.page.text)


class ReportTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.workdir = pathlib.Path(folder)

  def page(self):
    path = report.write(self.workdir)
    self.assertEqual(path, self.workdir / "report" / "index.html")
    return _Page(path.read_text(encoding="utf-8"))

  @parameterized.parameters(
    ("clean", ""),
    ("clean classwise", "gallery_classwise overview"),
    ("pacd", "attack gallery_pacd overview"),
  )
  @long.after(1)
  def test_any_subset_of_rows(self, rows, drawn):
    made_up_run.make_run(self.workdir, rows.split())
    self.assertEmpty(self.page().open)
    expected = {"certified_accuracy", "top_probability", *drawn.split()}
    self.assertEqual(_pictures(self.workdir / "report"), expected)

  def test_adaptive_sampling_in_another_precision(self):
    settings = {"mode": "adaptive", "dtype": "bfloat16"}
    words = {"description": "CIFAR-10 (JPEG-75)"}
    results = made_up_run.make_run(self.workdir, ["clean", "pacd"], words=words, **settings)
    page = self.page()
    self.assertLen(page.attributes("img"), 5)
    for words in (
      "Certified robustness of CIFAR-10 (JPEG-75), class 8",
      "at most n = 1,000 others",
      "Sampling was adaptive",
      f"a point took {evaluate.samples_mean(results):,.0f} copies on average",
      "The base classifier computed in bfloat16.",
    ):
      self.assertIn(words, page.text)

  def test_the_note_says_what_is_sound(self):
    results = made_up_run.make_run(self.workdir, ["clean"])
    row, words = results["rows"][0], "exact in float32, and the certificates hold"
    self.assertNotIn(words, report._sampling_note(results))
    sound = results | {"rows": [row | {"bound": f"{row['bound']}_sound"}]}
    self.assertIn(words, report._sampling_note(sound))

  def test_sampling_for_aca_alone(self):
    results = made_up_run.make_run(self.workdir, ["clean", "pacd"], mode="aca")
    page = self.page()
    self.assertEmpty(page.open)
    self.assertEqual(_pictures(self.workdir / "report"), {"attack", "gallery_pacd"})
    clean, pacd = (100.0 * row["aca_mean"] for row in results["rows"])
    self.assertGreater(clean, pacd)
    for words in (
      f"takes the share of certified points (ACA) of class 8 from {clean:.1f} % to "
      f"{pacd:.1f} %; the accuracy",
      "bound: clopper_pearson_bonferroni",
      "Sampling was for ACA alone",
    ):
      self.assertIn(words, page.text)
    self.assertRegex(page.text, r"clean - - 100\.0 ± 0\.0 97\.0")
    self.assertRegex(page.text, r"clean - 100\.0, 100\.0, 100\.0 93\.0, 93\.0, 93\.0")

  def test_colour_images(self):
    made_up_run.make_run(self.workdir, ["clean", "pacd"], num_channels=3)
    self.assertLen(self.page().attributes("img"), 5)

  def test_what_the_files_say_is_escaped(self):
    evil = "<b>&\"'</b><script>"
    words = {"dataset": evil, "model": evil, "training": evil, "norm": evil}
    made_up_run.make_run(self.workdir, ["clean"], config={evil: evil}, words=words)
    page = self.page()
    self.assertEmpty(page.open)
    self.assertLen(page.attributes("script"), 1)  # The page's own, as is the next.
    self.assertLen(page.attributes("b"), 1)
    self.assertIn(evil, page.text)

  @pytest.mark.long
  def test_same_run_gives_same_bytes(self):
    made_up_run.make_run(self.workdir, ["clean", "pacd"])
    first = report.write(self.workdir).read_bytes()
    self.assertEqual(report.write(self.workdir).read_bytes(), first)
    self.assertEmpty(list(self.workdir.glob("report/*.tmp")))

  @pytest.mark.long
  def test_a_users_matplotlibrc_does_not_reach_the_page(self):
    made_up_run.make_run(self.workdir, ["clean", "pacd"])
    first = report.write(self.workdir).read_bytes()
    odd = {"lines.linewidth": 9.0, "savefig.bbox": "tight", "axes.facecolor": "black"}
    with matplotlib.rc_context(odd | {"text.usetex": True}):
      self.assertEqual(report.write(self.workdir).read_bytes(), first)
      self.assertEqual(matplotlib.rcParams["lines.linewidth"], 9.0)

  def test_metrics_of_a_resumed_run(self):
    """The last line of a step counts, a line that was cut short does not."""
    path = self.workdir / "metrics.jsonl"
    lines = [
      made_up_run.attack_line(0),
      made_up_run.attack_line(1, upper=9.0),
      '{"stage": "attack", "st',
    ]
    lines += [
      made_up_run.attack_line(1, upper=0.2),
      made_up_run.attack_line(2, negative_curvature=True),
    ]
    path.write_text("\n".join(lines))
    metrics = pictures.attack_metrics(path)
    np.testing.assert_array_equal(metrics["step"], [0, 1, 2])
    np.testing.assert_array_equal(metrics["upper"], [0.3, 0.2, 0.3])
    np.testing.assert_array_equal(metrics["restart"], [True, False, False])
    np.testing.assert_array_equal(metrics["negative_curvature"], [False, False, True])

  @parameterized.parameters("config.json", "results.json")
  def test_refuses_a_missing_or_broken_file(self, name):
    made_up_run.make_run(self.workdir, ["clean"])
    text = (self.workdir / name).read_text()
    (self.workdir / name).write_text(text[:-3])
    with self.assertRaisesRegex(errors.InputError, f"{name} is no JSON"):
      report.write(self.workdir)
    os.remove(self.workdir / name)
    with self.assertRaisesRegex(errors.InputError, f"{name} is not there"):
      report.write(self.workdir)

  @parameterized.parameters("acr", "aca", "accuracy")
  def test_refuses_results_of_other_certificates(self, name):
    results = made_up_run.make_run(self.workdir, ["clean", "pacd"])
    results["rows"][1][name][0] += 0.1
    (self.workdir / "results.json").write_text(json.dumps(results))
    with self.assertRaisesRegex(errors.InputError, "row pacd is not of the certif"):
      report.write(self.workdir)


if __name__ == "__main__":
  absltest.main()
