"""The page and the picture of a matrix of defences, from its collected results."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from pacd_jax import types
from pacd_jax.results import defense_figures, defense_table, figures, page

_AS_CHANCE = 0.02  # A filter that takes out so little more sees nothing of a poison.


@figures.own_style()
def write(
  folder: pathlib.Path,
  collected: defense_table.Matrix,
  *,
  origins: Mapping[str, str],
  parts: Sequence[str],
) -> pathlib.Path:
  """Writes `report/index.html` and `report/defenses.png`; returns the page's path.

  Args:
    folder: folder of the matrix.
    collected: result of `defense_table.collect`.
    origins: origin of each attack's images, in words.
    parts: the runs' folders in `folder`.
  """
  path = folder / "report" / "index.html"
  path.parent.mkdir(exist_ok=True)
  of_quantities = [
    defense_table.cells(collected, name) for name in defense_table.QUANTITIES
  ]
  of_quantities[1:1] = [
    defense_table.recovered_cells(collected),
    defense_table.removed_cells(collected),
  ]
  words = {
    "title": f"Defences: {page.text(collected['description'])}, class "
    f"{page.text(collected['target_class'])}",
    "sigma": page.text(collected["sigma"]),
    "split": page.text(collected["columns"][0]["rows"][0]["split"]),
    "adaptive": page.text(defense_table.ADAPTIVE),
    "picture": page.figure(_picture(collected, path.parent)),
    "tables": "\n".join(
      page.table([("defence", *lines[0][1:]), *lines[1:]], lines[0][0])
      for lines in of_quantities
    ),
    "caption": page.text(" ".join(defense_table.caption(collected))),
    "failed": _failed(collected),
    "blind": page.text(blind(collected)),
    "defenses": page.definitions(
      {column["defense"]: column["words"] for column in collected["columns"]}
    ),
    "attacks": page.definitions(origins),
    "parts": page.links(parts),
    "section": "",
  }
  page.write(path, "defense_body.html", words)
  return path


def _failed(collected: defense_table.Matrix) -> str:
  """A list of the reasons why cells have no numbers; "" if all have."""
  reasons = defense_table.failures(collected)
  if not reasons:
    return ""
  items = "\n".join(f"<li>{page.text(reason)}</li>" for reason in reasons)
  return f"<h2>What failed</h2>\n<ul>\n{items}\n</ul>"


def blind(collected: defense_table.Matrix) -> str:
  """Says which filters take out no more of a poison than of the same images when clean.

  A poison of a whole class moves the class's own centroid and neighbours with it, so that
  a filter that compares an image with its class sees it where it was.
  """
  blind, sees = [], []
  for column in collected["columns"]:
    if not column["is_filter"] or types.CLEAN in column["failed"]:
      continue
    clean, *others = column["rows"]
    poisoned = [row for row in others if row["data"] != defense_table.ADAPTIVE]
    shares = ", ".join(f"{r['data']} {100 * r['poison_removed']:.1f} %" for r in poisoned)
    usual = clean["poison_removed"]
    words = f"{column['defense']} ({100 * usual:.1f} % where they are clean; {shares})"
    is_blind = all(row["poison_removed"] <= usual + _AS_CHANCE for row in poisoned)
    (blind if is_blind else sees).append(words)
  text = ""
  if blind:
    text += (
      "A poison that moves all images of a class moves its centroid, its neighbours and "
      "its features with it, so that a filter sees an image of it where it was. Of the "
      "images that are attacked, these filters take out no more than where they are clean: "
      f"{'; '.join(blind)}. "
    )
  if sees:
    text += f"These take out more of some poison: {'; '.join(sees)}."
  return text.strip() or "No defence here is a filter."


def _picture(collected: defense_table.Matrix, folder: pathlib.Path) -> page.Picture:
  """Draws `report/defenses.png`."""
  rows = defense_table.names(collected)
  quantity = "acr" if collected["columns"][0]["rows"][0]["acr_mean"] is not None else "aca"
  values = np.full((len(collected["columns"]), len(rows)), np.nan)
  for line, column in enumerate(collected["columns"]):
    for row in column["rows"]:
      values[line, rows.index(row["data"])] = row[f"{quantity}_mean"]
  path = folder / "defenses.png"
  names = [column["defense"] for column in collected["columns"]]
  label = quantity.upper()
  figures.save(defense_figures.heat_map(values, names, rows, label=label), path)
  return page.Picture(
    path,
    f"{label} that is left, means over victims: a line for each defence, a column for each "
    f"attack. The first column, {types.CLEAN}, is what the defence costs.",
    f"Heat map of {label}: defences against attacks.",
  )
