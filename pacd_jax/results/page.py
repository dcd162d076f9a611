"""Parts of a page of HTML that needs nothing beside itself: text, tables, pictures."""

import base64
import pathlib
import string
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from pacd_jax.runtime import run_folder


class Picture(NamedTuple):
  """A PNG of the report with its words."""

  path: pathlib.Path
  caption: str
  alt: str


def write(path: pathlib.Path, template: str, words: dict[str, str]) -> None:
  """Writes one page beside `path`, then renames.

  Args:
    path: of the page.
    template: a file of this package: the page's body, without title and reference.
    words: what stands for the template's names, as HTML, beside "terms": what ACR and ACA
      are; "title" and "section", what of the paper it is about, are the frame's.
  """
  terms = _packaged("terms.html").rstrip()
  body = string.Template(_packaged(template)).substitute({"terms": terms} | words)
  frame = string.Template(_packaged("page.html"))
  own = {"title": words["title"], "section": words["section"], "body": body}
  run_folder.write_text(path, frame.substitute(own, style=_packaged("page.css")))


def _packaged(name: str) -> str:
  return pathlib.Path(__file__).with_name(name).read_text(encoding="utf-8")


def table(rows: Sequence[Sequence[str]]) -> str:
  """A table, headings first."""
  lines = [_table_row(row, "td" if number else "th") for number, row in enumerate(rows)]
  return "\n".join(["<table>", *lines, "</table>\n"])


def _table_row(cells: Sequence[str], tag: str) -> str:
  return f"<tr>{''.join(f'<{tag}>{text(cell)}</{tag}>' for cell in cells)}</tr>"


def definitions(words: Mapping[str, str]) -> str:
  """Names and what they mean, for a `dl`."""
  return "\n".join(
    f"<dt>{text(name)}</dt><dd>{text(meaning)}</dd>" for name, meaning in words.items()
  )


def links(runs: Sequence[str]) -> str:
  """The pages of runs in folders beside the page's own, for a `ul`."""
  return "\n".join(
    f'<li><a href="../{text(name)}/report/index.html">{text(name)}</a></li>'
    for name in runs
  )


def figure(picture: Picture) -> str:
  """A picture, inside the page, with its words."""
  data = base64.b64encode(picture.path.read_bytes()).decode("ascii")
  return (
    f'<figure><img alt="{text(picture.alt)}" src="data:image/png;base64,{data}">'
    f"<figcaption>{text(picture.caption)}</figcaption></figure>"
  )


def text(value: Any) -> str:
  """Any value as text for HTML; numbers without needless digits."""
  if isinstance(value, int) and not isinstance(value, bool):
    return f"{value:,}"
  return escape(f"{value:g}" if isinstance(value, float) else str(value))
