"""The parts of a page: tables and pictures as a browser wants them, and its weight."""

import html.parser
import pathlib
import tempfile

import made_up_run
import pytest
from absl.testing import absltest
from PIL import Image

from pacd_jax.results import page, report

_ALT = "A grey square."


class _Tags(html.parser.HTMLParser):
  def __init__(self, text):
    super().__init__()
    self.found = []
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.found.append((tag, dict(attrs)))

  def of(self, wanted):
    return [attributes for tag, attributes in self.found if tag == wanted]


class PartsTest(absltest.TestCase):
  def test_a_table_names_itself_its_columns_and_its_rows(self):
    made = page.table([("data", "ACR"), ("<clean>", "0.3"), ("pacd", "0.1")], "Means & all")
    tags = _Tags(made)
    self.assertEqual(tags.of("table"), [{"aria-label": "Means & all"}])
    scopes = [attributes["scope"] for attributes in tags.of("th")]
    self.assertEqual(scopes, ["col", "col", "row", "row"])
    self.assertLen(tags.of("td"), 2)
    self.assertLess(made.index("</thead>"), made.index("<tbody>"))
    self.assertIn('<th scope="row">&lt;clean&gt;</th><td>0.3</td>', made)

  def test_a_picture_has_its_words_and_the_size_that_it_was_drawn_for(self):
    path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), "a.png")
    Image.new("L", (300, 150), 128).save(path)
    (image,) = _Tags(page.figure(page.Picture(path, "Caption.", _ALT))).of("img")
    self.assertStartsWith(image.pop("src"), "data:image/png;base64,iVBORw0KGgo")
    self.assertEqual(
      image, {"width": "192", "height": "96", "alt": _ALT, "style": "--drawn: 192px"}
    )


@pytest.mark.long
class WholePageTest(absltest.TestCase):
  def test_colour_images_of_many_rows_are_light(self):
    """Noise, which PNG cannot compress, in the place of every row's changes."""
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    rows = ["clean", *(f"row_{number}" for number in range(8)), "pacd"]
    made_up_run.make_run(workdir, rows, num_channels=3)
    path = report.write(workdir)
    self.assertLess(path.stat().st_size, 3e6)
    tags = _Tags(path.read_text(encoding="utf-8"))
    alts = [image["alt"] for image in tags.of("img")]
    self.assertLen(set(alts), 3 + 9 + 1)
    self.assertLen(alts, 3 + 9 + 1)
    labels = [table["aria-label"] for table in tags.of("table")]
    self.assertEqual(labels, ["Means over victims", "Every victim"])


if __name__ == "__main__":
  absltest.main()
