"""The page and the picture of a table of attacks, from its collected results."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from pacd_jax.results import attack_figures, attack_table, figures, goals, page


@figures.own_style()
def write(
  folder: pathlib.Path,
  collected: attack_table.Table,
  *,
  origins: Mapping[str, str],
  parts: Sequence[str],
) -> pathlib.Path:
  """Writes `report/index.html` and `report/attacks.png`; returns the page's path.

  Args:
    folder: folder of the table.
    collected: result of `attack_table.collect`.
    origins: origin of each attack's images, in words.
    parts: the runs' folders in `folder`.
  """
  path = folder / "report" / "index.html"
  path.parent.mkdir(exist_ok=True)
  columns = attack_table.EFFECTS | attack_table.CHANGES
  words = {
    "title": f"Attacks: {page.text(collected['description'])}, class "
    f"{page.text(collected['target_class'])}",
    "sigma": page.text(collected["sigma"]),
    "epsilon": page.text(f"{collected['epsilon']:.3g} ({collected['norm']})"),
    "split": page.text(collected["rows"][0]["split"]),
    "picture": page.figure(_picture(collected, path.parent)),
    "table": page.table(attack_table.cells(collected, columns), "Means over victims"),
    "caption": page.text(" ".join(attack_table.caption(collected))),
    "attacks": page.definitions(origins),
    "parts": page.links(parts),
    "section": "",
  }
  page.write(path, "attacks_body.html", words)
  return path


def _picture(collected: attack_table.Table, folder: pathlib.Path) -> page.Picture:
  """Draws `report/attacks.png`."""
  quantity = attack_table.quantity(collected)
  bars, styles = {}, {}
  for row in collected["rows"]:
    goal = row.get(goals.FIELD)
    bars[row["attack"]] = attack_figures.Bar(
      np.asarray(row[quantity], float),
      100.0 * np.asarray(goal["success"]) if goal else None,
    )
    if row["attack"] == row["data"]:
      styles[row["attack"]] = row["style"]
  path = folder / "attacks.png"
  figure = attack_figures.attacks(bars, xlabel=quantity.upper(), styles=styles)
  figures.save(figure, path)
  return page.Picture(
    path,
    f"{quantity.upper()} of the class that victims keep: a point for each victim, a short "
    "line for their mean, and across the mean of the first line's clean data; beside it, "
    "for attacks on single test images, how many of these get the attacker's label.",
    f"{quantity.upper()} and success of every attack.",
  )
