"""Heat maps of ratios over two settings."""

from collections.abc import Mapping

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from pacd_jax.results import figures

_CELL = 1.15  # Inches.
_ALPHA = 0.75
_COLOURS = "PuOr"  # Orange below 1, violet above; safe for colour-blind readers.


def ratios(
  panels: Mapping[str, Mapping[tuple[float, float], tuple[float, float, float]]],
  *,
  xlabel: str,
  ylabel: str,
) -> Figure:
  """Draws a panel for each title: a cell for each (x, y), with its ratio and interval.

  The colours end at 0 and 2, with white at 1, and a cell whose interval excludes 1 is in
  bold. Cells that are not given stay grey.

  Args:
    panels: title -> (x, y) -> (ratio, low end of its interval, high end).
    xlabel: label of the first settings.
    ylabel: label of the second.
  """
  axes_of = {title: _places(cells) for title, cells in panels.items()}
  widths = [len(x) for x, _ in axes_of.values()]
  height = max(len(y) for _, y in axes_of.values())
  figure = Figure(
    figsize=(2.0 + 1.4 * _CELL * sum(widths), 1.4 + _CELL * height), layout="constrained"
  )
  all_axes = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)[0]
  norm = TwoSlopeNorm(1.0, 0.0, 2.0)
  for axes, (title, cells) in zip(all_axes, panels.items(), strict=True):
    x, y = axes_of[title]
    values = np.full((len(y), len(x)), np.nan)
    for (at_x, at_y), (ratio, low, high) in cells.items():
      column, line = x.index(at_x), y.index(at_y)
      values[line, column] = ratio
      weight = "bold" if low > 1.0 or high < 1.0 else "normal"
      words = f"{ratio:.2f}\n[{low:.2f}, {high:.2f}]"
      axes.text(column, line, words, ha="center", va="center", weight=weight, fontsize=9)
    axes.set_facecolor("#e4e4e4")
    axes.imshow(values, cmap=_COLOURS, norm=norm, aspect="auto", alpha=_ALPHA)
    axes.set_xticks(range(len(x)), [f"{value:g}" for value in x])
    axes.set_yticks(range(len(y)), [f"{value:g}" for value in y])
    axes.set(xlabel=xlabel, title=title)
    axes.tick_params(color=figures.GREY)
  all_axes[0].set_ylabel(ylabel)
  figure.colorbar(
    ScalarMappable(norm, _COLOURS),
    ax=all_axes,
    alpha=_ALPHA,
    label="ACR over that of the best baseline",
  )
  return figure


def _places(cells: Mapping[tuple[float, float], object]) -> tuple[list, list]:
  """The settings of both axes, in increasing order."""
  x, y = zip(*cells, strict=True)
  return sorted(set(x)), sorted(set(y))
