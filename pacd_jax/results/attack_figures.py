"""The picture of a table of attacks, from plain arrays, in the style of `figures.py`."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from pacd_jax import types
from pacd_jax.results import figures


class Bar(NamedTuple):
  """One attack: values of each victim `[S]`."""

  left: np.ndarray  # What victims keep of the class.
  gained: np.ndarray | None  # What the attacker wants of test images; None: nothing.


def attacks(
  bars: Mapping[str, Bar],
  *,
  xlabel: str = "ACR",
  gained: str = "success %",
  styles: figures.Styles | None = None,
) -> Figure:
  """A line for each attack: what victims keep, and beside it what its attacker gets.

  Points are victims, the short line is their mean, and the grey line across is that of
  clean data.

  Args:
    bars: the attacks by name, clean data first.
    xlabel: what victims keep.
    gained: what attackers get, in per cent; without a panel if none wants anything.
    styles: colours of the attacks.
  """
  has_goals = any(bar.gained is not None for bar in bars.values())
  figure = Figure(figsize=(11.0, 0.9 + 0.34 * len(bars)), layout="constrained")
  panels = figure.subplots(1, 1 + has_goals, sharey=True, squeeze=False)[0]
  lines = figures.line_styles(bars, styles)
  for panel, label in zip(panels, (xlabel, gained), strict=False):
    panel.set_xlabel(label)
    figures.finish(panel)
  for place, (name, bar) in enumerate(bars.items()):
    for panel, values in zip(panels, bar, strict=False):
      if values is None:
        continue
      color = lines[name]["color"]
      panel.plot(values, np.full(len(values), place), "o", color=color, alpha=0.45)
      mean = np.mean(values)
      panel.plot([mean, mean], [place - 0.32, place + 0.32], color=color, linewidth=2.2)
  panels[0].set_xlim(left=0.0 - 0.02 * panels[0].get_xlim()[1])
  for panel in panels[1:]:
    panel.set_xlim(-2.0, 102.0)
  panels[0].axvline(np.mean(bars[types.CLEAN].left), color="0.6", linewidth=1.0, zorder=0)
  panels[0].set_yticks(range(len(bars)), list(bars))
  panels[0].set_ylim(len(bars) - 0.4, -0.6)
  return figure
