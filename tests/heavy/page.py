"""The pages of a run, a comparison and a transfer in a browser: `make test-page`.

Plain `pytest` does not collect this file. It makes tiny runs and opens their pages from
disk in the Chromium at CHROMIUM, which Playwright drives.
"""

import functools
import os
import pathlib
import re
import subprocess
import sys

from absl.testing import absltest, parameterized
from playwright import sync_api

from configs import digits_compare

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_FOLDER = pathlib.Path(os.environ["PACD_TESTS_FOLDER"], "pages")
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
_MOST_BYTES = 3e6
LEAST_CONTRAST = 4.5  # Of WCAG 2, level AA.
_LEAST_SCALE = 0.45  # Of a picture: below, its words of 12 points are under 11 pixels.
_COMPARED = ("classwise", "brightness", "pacd", "pacd_identity")
_PAGES = ("run", "comparison", "transfer")
_SETTINGS = tuple(
  (page, width, scheme)
  for page in _PAGES
  for width in (400, 1400)
  for scheme in ("light", "dark")
)


@functools.cache
def _pages() -> dict[str, pathlib.Path]:
  """The pages by name, of runs that are made here."""
  left_out = set(digits_compare.get_config("smoke").attacks) - set(_COMPARED)
  arguments = {
    "run": ["run", "--config=configs/digits_ga.py:smoke,model.name=linear"],
    "comparison": [
      *("compare", "--config=configs/digits_compare.py:smoke,model.name=linear"),
      *(f"--config.attacks.{name}.row=" for name in sorted(left_out)),
    ],
    "transfer": [
      *("run", "--config=configs/digits_transfer.py:smoke,model.name=linear"),
      *(f"--config.poisons.{name}=" for name in ("macer", "smoothadv", "mlp")),
      f"--config.poisons.gaussian={_FOLDER / 'run'}",
    ],
  }
  for name, of_page in arguments.items():
    command = [sys.executable, "-m", "pacd_jax", *of_page, f"--workdir={_FOLDER / name}"]
    subprocess.run(command, cwd=_ROOT, check=True)
  return {name: _FOLDER / name / "report" / "index.html" for name in arguments}


class PageTestCase(parameterized.TestCase):
  """A browser for the class, and what a page says in its console and loads."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    driver = cls.enterClassContext(sync_api.sync_playwright())
    cls.browser = driver.chromium.launch(
      executable_path=os.environ["CHROMIUM"], args=_FLAGS
    )
    cls.addClassCleanup(cls.browser.close)

  def open(self, path: pathlib.Path, *, width=1400, scheme="light", **options):
    """The page in a window of its own; without JavaScript there are no checks."""
    context = self.browser.new_context(
      viewport={"width": width, "height": 900}, color_scheme=scheme, **options
    )
    self.addCleanup(context.close)
    context.add_init_script(path=pathlib.Path(__file__).with_name("page_checks.js"))
    page = context.new_page()
    self.heard, self.loaded = [], []
    page.on("console", lambda message: self.heard.append(message.text))
    page.on("pageerror", lambda error: self.heard.append(str(error)))
    page.on("request", lambda request: self.loaded.append(request.url))
    page.goto(path.as_uri())
    return page

  def reach_by_keyboard(self, page):
    for _ in range(len(page.query_selector_all("a, button, summary, .wide")) + 2):
      page.keyboard.press("Tab")
      page.evaluate("checks.mark()")
    self.assertEmpty(page.evaluate("checks.unreached()"))


class ReportTest(PageTestCase):
  @parameterized.parameters(*_SETTINGS)
  def test_readable(self, name, width, scheme):
    page = self.open(_pages()[name], width=width, scheme=scheme)
    self.assertEmpty(self.heard)
    others = [url for url in self.loaded if not url.startswith("data:")]
    self.assertEqual(others, [_pages()[name].as_uri()])
    page.evaluate("document.querySelectorAll('details').forEach((e) => e.open = true)")
    self.assertEqual(page.evaluate("checks.overflow()"), 0)
    self.assertEmpty(page.evaluate(f"checks.faint({LEAST_CONTRAST})"))
    pictures = page.evaluate("checks.pictures()")
    self.assertNotEmpty(pictures)
    for picture in pictures:
      self.assertGreater(picture["naturalWidth"], 0)
      self.assertGreater(picture["width"], _LEAST_SCALE * picture["naturalWidth"])
      self.assertTrue(picture["opaque"])  # Drawn for a white ground.
    alts = [picture["alt"] for picture in pictures]
    self.assertNotIn("", alts)
    self.assertLen(set(alts), len(alts))

  @parameterized.product(name=_PAGES, width=(400, 1400))
  def test_everything_is_reached_by_the_keyboard(self, name, width):
    self.reach_by_keyboard(self.open(_pages()[name], width=width))

  @parameterized.parameters(*_PAGES)
  def test_structure(self, name):
    path = _pages()[name]
    self.assertLess(path.stat().st_size, _MOST_BYTES)
    page = self.open(path)
    self.assertEqual(page.get_attribute("html", "lang"), "en")
    self.assertEqual(page.title(), page.inner_text("h1"))
    self.assertEqual([page.locator(f"{tag}").count() for tag in ("h1", "main")], [1, 1])
    headings = page.eval_on_selector_all("h1, h2, h3", "all => all.map(e => e.tagName)")
    self.assertEqual(headings, ["H1", *["H2"] * (len(headings) - 1)])
    tables = page.get_by_role("table")
    labels = [table.get_attribute("aria-label") for table in tables.all()]
    self.assertLen(set(labels), len(labels))
    self.assertNotEmpty(labels)
    for link in page.locator("a").all():
      self.assertTrue((path.parent / link.get_attribute("href")).exists())

  @parameterized.parameters(*_PAGES)
  def test_without_scripts_nothing_is_missing(self, name):
    with_scripts = self.open(_pages()[name])
    with_scripts.evaluate("document.querySelectorAll('.copy').forEach((e) => e.remove())")
    without = self.open(_pages()[name], java_script_enabled=False)
    words = [" ".join(page.inner_text("body").split()) for page in (with_scripts, without)]
    self.assertEqual(*words)
    self.assertEqual(without.locator("button").count(), 0)

  @parameterized.parameters(
    lambda page, heading: heading.click(),
    lambda page, heading: (heading.focus(), page.keyboard.press("Enter")),
    lambda page, heading: (heading.focus(), page.keyboard.press("Space")),
  )
  def test_sorting(self, press):
    """Upwards, downwards, then as written; equal values stay in their order."""
    page = self.open(_pages()["comparison"])
    page.evaluate(
      "values => values.forEach((value, n) =>"
      " document.querySelectorAll('tbody tr')[n].cells[1].textContent = value)",
      ["0.303 ± 0.014", "0.02 ± 0.5 (1,234 s)", "1,000", "-", "0.02 ± 0.1"],
    )
    heading = page.get_by_role("table").first.get_by_role("button").nth(1)
    names = page.evaluate("checks.column(0, 0)")
    self.assertLen(names, 5)
    for state, order in (
      ("ascending", (1, 4, 0, 2, 3)),
      ("descending", (2, 0, 1, 4, 3)),
      ("none", range(5)),
    ):
      press(page, heading)
      states = page.eval_on_selector_all(
        "table:first-of-type >> nth=0 >> thead th",
        "all => all.map(e => e.getAttribute('aria-sort'))",
      )
      self.assertEqual(states, ["none", state, *["none"] * (len(states) - 2)])
      self.assertEqual(page.evaluate("checks.column(0, 0)"), [names[n] for n in order])

  @parameterized.parameters(*_PAGES)
  def test_copying(self, name):
    """By hand, by the button, and by the button where the clipboard is closed."""
    page = self.open(_pages()[name], permissions=["clipboard-read", "clipboard-write"])
    rows = page.eval_on_selector_all(
      "table >> nth=0 >> tr",
      "rows => rows.map(row => [...row.cells].map(e => e.textContent))",
    )
    expected = ["\t".join(row) for row in rows]
    self.assertEqual(page.evaluate("checks.selected(0)").strip().split("\n"), expected)
    button = page.get_by_role("button", name="Copy table").first
    button.press("Enter")
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    self.assertEqual(copied, "\n".join(expected) + "\n")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.get_by_role("button", name="Copied").click()
    page.get_by_role("button", name=re.compile("Selected")).wait_for()
    selected = page.evaluate("getSelection().toString()")
    self.assertEqual(selected.strip().split("\n"), expected)


if __name__ == "__main__":
  absltest.main()
