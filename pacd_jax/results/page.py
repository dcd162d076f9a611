"""Parts of a self-contained HTML page: text, tables, pictures."""

import base64
import pathlib
import string
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from pacd_jax.runtime import files


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
  terms = _packaged("terms.html").rstrip()
  body = string.Template(_packaged(template)).substitute({"terms": terms} | words)
  frame = string.Template(_packaged("page.html"))
  own = {"title": words["title"], "section": words["section"], "body": body}
  files.write_text(path, frame.substitute(own, style=_packaged("page.css")))


def _packaged(name: str) -> str:
  return pathlib.Path(__file__).with_name(name).read_text(encoding="utf-8")


def table(rows: Sequence[Sequence[str]]) -> str:
  """An HTML table whose first row has the headings."""
  lines = [_table_row(row, "td" if number else "th") for number, row in enumerate(rows)]
  return "\n".join(["<table>", *lines, "</table>\n"])


def _table_row(cells: Sequence[str], tag: str) -> str:
  return f"<tr>{''.join(f'<{tag}>{text(cell)}</{tag}>' for cell in cells)}</tr>"


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
  """A picture embedded in the page, with its caption."""
  data = base64.b64encode(picture.path.read_bytes()).decode("ascii")
  return (
    f'<figure><img alt="{text(picture.alt)}" src="data:image/png;base64,{data}">'
    f"<figcaption>{text(picture.caption)}</figcaption></figure>"
  )


def text(value: Any) -> str:
  """Formats any value as escaped HTML text; numbers have no needless digits."""
  if isinstance(value, int) and not isinstance(value, bool):
    return f"{value:,}"
  return escape(f"{value:g}" if isinstance(value, float) else str(value))
