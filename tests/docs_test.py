"""The documentation's examples run as they stand; README is short and its links lead on."""

import contextlib
import io
import os
import pathlib
import re

import asked
import finished_run
import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized

import pacd_jax
from pacd_jax.data import arrays, poison_file, sources
from pacd_jax.experiment import door, kinds

_ROOT = pathlib.Path(__file__).resolve().parents[1]


def _examples(page):
  text = (_ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
  return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


class ExamplesTest(finished_run.FinishedRunTestCase):
  """In a folder where a demo has been run, one page's examples after the other."""

  def setUp(self):
    super().setUp()
    self.addCleanup(os.chdir, os.getcwd())
    self.root = pathlib.Path(self.workdir)
    (self.root / "runs").mkdir(parents=True)
    (self.root / "runs" / "digits_ga").symlink_to(self.finished)
    os.chdir(self.root)

  def _run(self, page, count):
    """What the page's examples leave, after each of them."""
    examples = _examples(page)
    self.assertLen(examples, count)
    names = {}
    for number, example in enumerate(examples):
      exec(compile(example, f"{page}.md, example {number}", "exec"), names)
      yield names

  @pytest.mark.long
  def test_library(self):
    pages = self._run("library", 6)
    found = next(pages)
    np.testing.assert_array_equal(found["prediction"], [0, 1])
    distance = 8.0 * np.array([0.3, 0.2])
    self.assertTrue((found["radius"] <= distance).all())
    self.assertTrue((found["radius"] > 0.7).all())
    with contextlib.redirect_stderr(io.StringIO()):
      *_, found = pages
    self.assertTrue((self.root / "my_run" / "poison" / "brightness.npz").exists())
    self.assertTrue((found["poison"].images > found["poison"].base_images).any())
    self.assertBetween(found["acr"]["poisoned"], 0.0, 0.9 * found["acr"]["clean"])
    np.testing.assert_array_equal(
      found["logits"], found["victims"].apply(found["victims"].params[0], found["of_class"])
    )
    np.testing.assert_allclose(found["gradient"], [0.5, 0.25], rtol=1e-6)
    self.assertLen(found["radii"], len(found["run"].certify.indices))

  def test_certification(self):
    (found,) = self._run("certification", 1)
    self.assertBetween(found["acr"], 0.0, 1.0)

  def test_aggregation(self):
    (found,) = self._run("aggregation", 1)
    self.assertBetween(found["median"], 5, 25)
    self.assertEqual(found["flips"], 7)

  def test_backdoors(self):
    asked.run(finished_run.smoke(rows=("badnets",)), "runs/badnets", ("attack",))
    (found,) = self._run("backdoors", 1)
    moved = (found["triggered"] != found["images"]).any(axis=(0, 3))
    self.assertFalse(moved[:5].any() or moved[:, :5].any())
    np.testing.assert_array_equal(found["triggered"][:, 5:, 5:], 255)

  def test_data(self):
    *_, found = self._run("data", 3)
    self.assertEqual(found["splits"].num_classes, 2)
    self.assertEqual(sources.npz("train.npz").train.images.shape[1:], (8, 8, 1))

  def test_every_page_with_examples_is_here(self):
    pages = {path.stem for path in (_ROOT / "docs").glob("*.md") if _examples(path.stem)}
    tested = {"library", "aggregation", "backdoors", "certification", "suites", "data"}
    tested |= {"extending"}
    # PyTorch is not among the tests' packages: `make test-torch` runs that page.
    elsewhere = {"pytorch": "tests/heavy/torch_models.py"}
    self.assertEqual(pages, tested | elsewhere.keys())
    for page, path in elsewhere.items():
      self.assertIn(f'"{page}.md"', (_ROOT / path).read_text(encoding="utf-8"))

  def test_suites(self):
    (_,) = self._run("suites", 1)
    self.assertEqual(poison_file.load("mine.npz").target_class, 8)

  def test_extending(self):
    pages = self._run("extending", 3)
    next(pages)
    self.addCleanup(kinds.LOSSES.remove, "louder")
    self.assertIn("louder", kinds.LOSSES)
    next(pages)
    self.addCleanup(kinds.ROWS.remove, "stripes")
    workdir = self.root / "striped"
    asked.run(finished_run.smoke(rows=("stripes",)), workdir, ("attack",))
    poison = poison_file.load(workdir / "poison" / "stripes.npz")
    raised = poison.images.astype(int) - poison.base_images
    self.assertEqual(raised[:, :, 1::2].max(), 0)
    self.assertGreater(raised[:, :, ::2].min(axis=0).max(), 10)
    next(pages)
    self.addCleanup(kinds.PROCEDURES.remove, "lipschitz")
    changes = {"certify.procedure": "lipschitz", "certify.lipschitz.norm": "l2"}
    config = door.named("digits_ga", "smoke,model.name=linear", changes)
    plan = door.build(config, self.root / "bounded")
    self.assertEqual(plan.certify.procedure.norm, "l2")
    params = plan.model.init(jax.random.key(0), (8, 8, 1))
    images = plan.splits.test.images[:20]
    logits = np.asarray(plan.model.apply(params, arrays.to_float(images)))
    predictions, radii = plan.certify.procedure.certify(params, images)
    kernel = np.asarray(params["Dense_0"]["kernel"])
    for z, winner, radius in zip(logits, predictions, radii, strict=True):
      gaps, steps = z[winner] - z, np.linalg.norm(kernel[:, [winner]] - kernel, axis=0)
      exact = min(gaps[j] / steps[j] for j in range(10) if j != winner)
      self.assertBetween(radius, 0.0, exact)
    self.assertGreater(radii.max(), 0.0)


class ApiPageTest(absltest.TestCase):
  def test_every_algorithm_is_on_it(self):
    text = (_ROOT / "docs/api.md").read_text(encoding="utf-8")
    there = set(re.findall(r"automodule:: (\S+)", text))
    inner = {"arguments", "certificate_tables", "point_stream"}  # Of `certify`'s work.
    lacking = [
      name
      for room in ("attacks", "bilevel", "bounds", "certification", "manifolds")
      for path in sorted((_ROOT / "pacd_jax" / room).rglob("*.py"))
      if path.stem not in {"__init__", *inner}
      and (name := ".".join(path.relative_to(_ROOT).with_suffix("").parts)) not in there
    ]
    self.assertEmpty(lacking)


class PublicNamesTest(absltest.TestCase):
  def test_each_is_there_and_has_a_docstring(self):
    for name in pacd_jax.__all__:
      self.assertTrue(getattr(pacd_jax, name).__doc__, name)

  def test_a_name_that_is_not_there_lists_near_ones(self):
    with self.assertRaisesRegex(AttributeError, "has no 'certifi': it has certify"):
      _ = pacd_jax.certifi


class ReadmeTest(parameterized.TestCase):
  def test_it_is_short(self):
    text = (_ROOT / "README.md").read_text(encoding="utf-8")
    self.assertLessEqual(len(text.splitlines()), 200)

  @parameterized.parameters("README.md", "CONTRIBUTING.md", "launch/README.md")
  def test_links_lead_to_files(self, name):
    path = _ROOT / name
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
      if not link.startswith("http"):
        self.assertTrue((path.parent / link).exists(), link)


if __name__ == "__main__":
  absltest.main()
