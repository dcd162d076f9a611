"""The page and the picture of a comparison of attacks, from its collected results."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from pacd_jax.results import comparison_figures, comparison_table, figures, page


@figures.own_style()
def write(
  folder: pathlib.Path,
  collected: comparison_table.Comparison,
  *,
  split: str,
  origins: Mapping[str, str],
  parts: Sequence[str],
) -> pathlib.Path:
  """Writes `report/index.html` and `report/compare.png`; returns the page's path.

  Args:
    folder: folder of the comparison.
    collected: result of `comparison_table.collect`.
    split: name of the split whose points were certified.
    origins: origin of each method's images, in words.
    parts: the runs' folders in `folder`.
  """
  path = folder / "report" / "index.html"
  path.parent.mkdir(exist_ok=True)
  words = {
    "title": f"Attacks compared: {page.text(collected['description'])}, class "
    f"{page.text(collected['target_class'])}",
    "sigma": page.text(collected["sigma"]),
    "split": page.text(split),
    "picture": page.figure(_picture(collected, path.parent)),
    "tables": "\n".join(_table(collected, name) for name in comparison_table.QUANTITIES),
    "caption": page.text(" ".join(comparison_table.caption(collected))),
    "methods": page.definitions(origins),
    "parts": page.links(parts),
    "section": "",
  }
  page.write(path, "comparison_body.html", words)
  return path


def _table(collected: comparison_table.Comparison, quantity: str) -> str:
  (title, *epsilons), *lines = comparison_table.cells(collected, quantity)
  return page.table([("attack", *epsilons), *lines], title)


def _picture(collected: comparison_table.Comparison, folder: pathlib.Path) -> page.Picture:
  """Draws `report/compare.png`."""
  quantity = comparison_table.quantity(collected)
  title, scale, _ = comparison_table.QUANTITIES[quantity]

  def curve(rows):
    return comparison_figures.Curve(
      scale * np.array([row[f"{quantity}_mean"] for row in rows]),
      scale * np.array([row[f"{quantity}_std"] for row in rows]),
      np.array([row["attack_seconds"] for row in rows], float),  # None is NaN.
    )

  methods = comparison_table.methods(collected)
  # Variants of PACD share the row's name, so they do not use its style.
  styles = {n: rows[0]["style"] for n, rows in methods.items() if rows[0]["data"] == n}
  figure = comparison_figures.comparison(
    collected["epsilons"],
    {name: curve(rows) for name, rows in methods.items()},
    ylabel=title,
    styles=styles,
  )
  path = folder / "compare.png"
  figures.save(figure, path)
  return page.Picture(
    path,
    f"{title} against the wall time of making the poison, and against epsilon: means over "
    "victims with one standard deviation. The lower, the stronger the attack; methods at "
    "one epsilon are drawn a little apart.",
    f"{title} of every attack against its time, a panel for each epsilon; below, against "
    "epsilon.",
  )
