"""The page and the picture of a transfer experiment, from its collected results."""

import pathlib
from collections.abc import Mapping

import numpy as np

from pacd_jax.results import figures, matrix, page

_PANELS = ("acr", "aca")  # Panels of the picture.


@figures.own_style()
def write(
  folder: pathlib.Path,
  collected: matrix.Matrix,
  *,
  split: str,
  origins: Mapping[str, str],
) -> pathlib.Path:
  """Writes `report/index.html` and `report/transfer.png`; returns the page's path.

  Args:
    folder: folder of the transfer.
    collected: result of `matrix.collect`.
    split: name of the split whose points were certified.
    origins: origin of each poison, in words.
  """
  path = folder / "report" / "index.html"
  path.parent.mkdir(exist_ok=True)
  names = [victim["victim"] for victim in collected["victims"]]
  words = {
    "title": "Transfer of poisons between training methods: "
    f"{page.text(collected['description'])}, class {collected['target_class']}",
    "sigma": page.text(collected["sigma"]),
    "split": page.text(split),
    "picture": page.figure(_picture(collected, path.parent)),
    "tables": "\n".join(_table(collected, name) for name in matrix.QUANTITIES),
    "caption": page.text(" ".join(matrix.caption(collected))),
    "poisons": page.definitions(origins),
    "victims": page.links(names),
    "section": ", section 4.5",
  }
  page.write(path, "transfer_body.html", words)
  return path


def _table(collected: matrix.Matrix, quantity: str) -> str:
  (title, *victims), *lines = matrix.cells(collected, quantity)
  return page.table([("data", *victims), *lines], title)


def _picture(collected: matrix.Matrix, folder: pathlib.Path) -> page.Picture:
  """Draws `report/transfer.png`: bars as in Figure 4 of the paper."""
  victims = collected["victims"]
  styles = {row["data"]: row["style"] for row in victims[0]["rows"]}
  panels = {}
  for quantity in _PANELS:
    title, scale, _ = matrix.QUANTITIES[quantity]
    rows = [victim["rows"] for victim in victims]
    if rows[0][0][f"{quantity}_mean"] is None:
      continue
    panels[title] = {
      of_victims[0]["data"]: (
        scale * np.array([row[f"{quantity}_mean"] for row in of_victims]),
        scale * np.array([row[f"{quantity}_std"] for row in of_victims]),
      )
      for of_victims in zip(*rows, strict=True)
    }
  path = folder / "transfer.png"
  names = [victim["victim"] for victim in victims]
  figures.save(figures.transfer(names, panels, styles), path)
  return page.Picture(
    path,
    "Means over victims with one standard deviation: each group is a way of training, "
    "each colour the data that it was trained on.",
    "Bars of ACR and ACA for every training method on clean data and on every poison.",
  )
