"""The documentation's site in a browser: `make test-page`, after `make docs`.

Every page of docs/_build/html: nothing in the console, nothing loaded from elsewhere,
readable at 400 and 1,400 pixels, light and dark, pictures with words, links that lead on.
"""

import functools
import pathlib
import urllib.parse

import page
from absl.testing import absltest, parameterized

_SITE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "_build" / "html"


@functools.cache
def _pages() -> list[pathlib.Path]:
  return sorted([*_SITE.glob("*.html"), *_SITE.glob("colabs/*.html")])


class SiteTest(page.PageTestCase):
  @parameterized.product(width=(400, 1400), scheme=("light", "dark"))
  def test_readable(self, width, scheme):
    self.assertContainsSubset({"index", "reproduction"}, {path.stem for path in _pages()})
    for path in _pages():
      with self.subTest(path.stem):
        shown = self.open(path, width=width, scheme=scheme)
        self.assertEmpty(self.heard)
        self.assertEmpty([u for u in self.loaded if not u.startswith(("file:", "data:"))])
        self.assertEqual(shown.evaluate("checks.overflow()"), 0)
        self.assertEmpty(shown.evaluate(f"checks.faint({page.LEAST_CONTRAST})"))
        pictures = shown.eval_on_selector_all(
          "img", "all => all.map(e => [e.alt, e.naturalWidth])"
        )
        for alt, pixels in pictures:
          self.assertGreater(pixels, 0)
          self.assertRegex(alt, r"\w+ \w+")  # Words, and not the name of a file.
        shown.context.close()

  def test_links_lead_on(self):
    links, names = [], {}
    for path in _pages():
      shown = self.open(path)
      names[path] = set(shown.eval_on_selector_all("[id]", "all => all.map(e => e.id)"))
      links += shown.eval_on_selector_all("a[href]", "all => all.map(e => e.href)")
      shown.context.close()
    inner = [urllib.parse.urlsplit(link) for link in set(links) if link.startswith("file:")]
    self.assertGreater(len(inner), 100)
    for link in inner:
      path = pathlib.Path(urllib.parse.unquote(link.path))
      self.assertTrue(path.exists(), path)
      if link.fragment and path in names:
        self.assertIn(urllib.parse.unquote(link.fragment), names[path], path)


if __name__ == "__main__":
  absltest.main()
