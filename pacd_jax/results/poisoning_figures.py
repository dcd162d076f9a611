"""Pictures of certificates against poisoning, drawn from plain arrays."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from pacd_jax.results import figures

_SIZE = (8.0, 5.0)  # Inches.


def against_poison(
  sizes: np.ndarray,
  shares: Mapping[str, np.ndarray],
  unit: str,
  styles: figures.Styles | None = None,
) -> Figure:
  """Certified accuracy against the change of the training set, a line for each row.

  Args:
    sizes: `[R]`, rising from 0, in the unit.
    shares: by row, `[S, R]` in [0, 1].
    unit: what is counted, such as "replaced images".
    styles: styles of the rows' lines.
  """
  figure = Figure(figsize=_SIZE, layout="constrained")
  axes = figure.subplots()
  _lines(axes, sizes, shares, styles, step="post")
  axes.set(xlim=(0.0, sizes[-1]), ylim=(0.0, 1.01))
  axes.set_xlabel(f"poisoning: {unit}")
  axes.set_ylabel("certified accuracy, all classes")
  figures.finish(axes)
  axes.legend(loc="best", frameon=True, edgecolor="none", fontsize=11)
  return figure


def acr_by_level(
  numbers: np.ndarray,
  acrs: Mapping[str, np.ndarray],
  unit: str,
  styles: figures.Styles | None = None,
) -> Figure:
  """ACR at test time against the number of poisoned images, a line for each row.

  Args:
    numbers: `[J]`, rising from 0.
    acrs: by row, `[S, J]` in image units.
    unit: what is counted.
    styles: styles of the rows' lines.
  """
  figure = Figure(figsize=_SIZE, layout="constrained")
  axes = figure.subplots()
  _lines(axes, numbers, acrs, styles, marker="o")
  axes.set(xlim=(0.0, numbers[-1]), ylim=(0.0, None))
  axes.set_xlabel(f"poisoning: {unit}")
  axes.set_ylabel("average certified radius (image units)")
  figures.finish(axes)
  axes.legend(loc="best", frameon=True, edgecolor="none", fontsize=11)
  return figure


def _lines(axes, places, values, styles, *, step=None, marker=None) -> None:
  """Means over victims, with bands of one standard deviation to either side."""
  lines = figures.line_styles(values, styles)
  for name, of_row in values.items():
    mean, spread = of_row.mean(axis=0), of_row.std(axis=0, ddof=int(len(of_row) > 1))
    axes.plot(
      places,
      mean,
      label=name,
      marker=marker,
      drawstyle=f"steps-{step}" if step else "default",
      **lines[name],
    )
    colour = lines[name]["color"]
    axes.fill_between(
      places, mean - spread, mean + spread, fc=colour, alpha=0.14, linewidth=0, step=step
    )
