"""The heat map of a matrix of defences."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pacd_jax.results import figures

_CELL = (1.25, 0.42)  # Inches.
_COLOURS = "cividis"  # Safe for colour-blind readers.


def heat_map(
  values: np.ndarray, lines: Sequence[str], columns: Sequence[str], *, label: str
) -> Figure:
  """Draws ACRs `[L, C]`, dark where little is left; NaN cells stay grey.

  Args:
    values: from 0; the colours end at the largest one.
    lines: names of the lines, from above.
    columns: names of the columns.
    label: of the colours.
  """
  width, height = _CELL
  figure = Figure(
    figsize=(2.8 + width * len(columns), 1.3 + height * len(lines)), layout="constrained"
  )
  axes = figure.subplots()
  most = float(np.nanmax(values)) or 1.0
  axes.set_facecolor("#e4e4e4")
  image = axes.imshow(values, cmap=_COLOURS, vmin=0.0, vmax=most, aspect="auto")
  for (line, column), value in np.ndenumerate(values):
    if not np.isnan(value):
      colour = "black" if value > 0.6 * most else "white"
      axes.text(column, line, f"{value:.3f}", ha="center", va="center", color=colour)
  axes.set_xticks(range(len(columns)), columns, rotation=20, ha="right")
  axes.set_yticks(range(len(lines)), lines)
  axes.tick_params(color=figures.GREY)
  figure.colorbar(image, ax=axes, label=label)
  return figure
