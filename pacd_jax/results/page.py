"""Parts of a self-contained HTML page: text, tables, pictures."""

import base64
import pathlib
import string
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from PIL import Image

from pacd_jax.results import figures
from pacd_jax.runtime import files

_DPI_OF_CSS = 96  # Of a browser's `px`.


class Picture(NamedTuple):
  """A PNG of the report with its caption and alternative text."""

  path: pathlib.Path
  caption: str
  alt: str


def write(path: pathlib.Path, template: str, words: dict[str, str]) -> None:
  """Writes one page atomically: beside `path`, then renamed.

  Args:
    path: path of the page.
    template: name of the body's template, a file of this package.
    words: values of the template's names, as HTML, and of the frame's "title" and "section"
      (the section of the paper). "terms", definitions of ACR and ACA, is added here.
  """
  body = filled(template, {"terms": filled("terms.html", {})} | words)
  frame = string.Template(_packaged("page.html"))
  own = {"title": words["title"], "section": words["section"], "body": body}
  own |= {"style": _packaged("page.css"), "script": _packaged("page.js")}
  files.write_text(path, frame.substitute(own))


def filled(template: str, words: Mapping[str, str]) -> str:
  """A template of this package with its names replaced, without blanks at its end."""
  return string.Template(_packaged(template)).substitute(words).rstrip()


def _packaged(name: str) -> str:
  return pathlib.Path(__file__).with_name(name).read_text(encoding="utf-8")


def table(rows: Sequence[Sequence[str]], caption: str) -> str:
  """An HTML table that `page.js` sorts and copies.

  Args:
    rows: the cells, headings first; the first cell of a row names it.
    caption: what the table holds, unlike that of the page's other tables.
  """
  headings, *others = rows
  columns = "".join(f'<th scope="col">{text(cell)}</th>' for cell in headings)
  body = "\n".join(map(_table_row, others))
  return (
    f'<figure class="table"><figcaption>{text(caption)}</figcaption>\n'
    f'<div class="wide"><table aria-label="{text(caption)}">\n'
    f"<thead><tr>{columns}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div></figure>\n"
  )


def _table_row(cells: Sequence[str]) -> str:
  name, *values = cells
  found = "".join(f"<td>{text(value)}</td>" for value in values)
  return f'<tr><th scope="row">{text(name)}</th>{found}</tr>'


def definitions(words: Mapping[str, str]) -> str:
  """Names and their meanings, as entries of a `dl`."""
  return "\n".join(
    f"<dt>{text(name)}</dt><dd>{text(meaning)}</dd>" for name, meaning in words.items()
  )


def links(runs: Sequence[str]) -> str:
  """Links to the pages of runs in folders beside the page's own, as entries of a `ul`."""
  return "\n".join(
    f'<li><a href="../{text(name)}/report/index.html">{text(name)}</a></li>'
    for name in runs
  )


def figure(picture: Picture) -> str:
  """A picture embedded in the page at the size that it was drawn for, with its caption."""
  with Image.open(picture.path) as image:
    pixels = image.size
  width, height = (round(each * _DPI_OF_CSS / figures.DPI) for each in pixels)
  size = f'width="{width}" height="{height}" style="--drawn: {width}px"'
  encoded = base64.b64encode(picture.path.read_bytes()).decode("ascii")
  return (
    f'<figure><div class="wide"><img {size} alt="{text(picture.alt)}" '
    f'src="data:image/png;base64,{encoded}"></div>'
    f"<figcaption>{text(picture.caption)}</figcaption></figure>"
  )


def text(value: Any) -> str:
  """Formats any value as escaped HTML text; numbers have no needless digits."""
  if isinstance(value, int) and not isinstance(value, bool):
    return f"{value:,}"
  return escape(f"{value:g}" if isinstance(value, float) else str(value))
