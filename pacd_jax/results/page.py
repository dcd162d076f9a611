"""Parts of a page of HTML that needs nothing beside itself: text, tables, pictures."""

import base64
import pathlib
import string
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from pacd_jax.runtime import run_folder


class Picture(NamedTuple):
  """A PNG of the report with its words."""

  path: pathlib.Path
  caption: str
  alt: str


def write(path: pathlib.Path, template: str, words: dict[str, str]) -> None:
  """Writes one page beside `path`, then renames; `template` is a file of this package."""
  words = words | {"style": _packaged("page.css")}
  contents = string.Template(_packaged(template)).substitute(words)
  run_folder.write_text(path, contents)


def _packaged(name: str) -> str:
  return pathlib.Path(__file__).with_name(name).read_text(encoding="utf-8")


def table(rows: Sequence[Sequence[str]]) -> str:
  """A table, headings first."""
  lines = [_table_row(row, "td" if number else "th") for number, row in enumerate(rows)]
  return "\n".join(["<table>", *lines, "</table>\n"])


def _table_row(cells: Sequence[str], tag: str) -> str:
  return f"<tr>{''.join(f'<{tag}>{text(cell)}</{tag}>' for cell in cells)}</tr>"


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
