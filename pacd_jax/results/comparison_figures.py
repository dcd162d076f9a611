"""Pictures of a comparison of attacks, from plain arrays, in the style of `figures.py`.

In the shape descriptions `E` is the number of epsilons.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pacd_jax import types
from pacd_jax.results import figures

_MARKERS = "os^DvPX<>ph*"  # Together with colours they distinguish many methods.
_COLUMNS = 3  # Panels side by side, one per epsilon.
_APART = 0.012  # Shift between methods, as a share of the largest epsilon.


class Curve(NamedTuple):
  """The results of one method at each epsilon; those of clean data are repeated."""

  means: np.ndarray  # `[E]`
  stds: np.ndarray  # `[E]`, over victims.
  seconds: np.ndarray  # `[E]`, wall time of the attack; NaN if unknown.


def comparison(
  epsilons: Sequence[float],
  curves: Mapping[str, Curve],
  *,
  ylabel: str = "ACR",
  styles: figures.Styles | None = None,
) -> Figure:
  """Means over victims against the attacks' time and against epsilon.

  The upper panels, one per epsilon, have one point per method against time; the panel below
  has one line per method against epsilon, starting at clean data.

  Args:
    epsilons: `[E]` in image units, rising.
    curves: curves by method, including clean data.
    ylabel: label of the means.
    styles: styles of the methods' lines.
  """
  columns = min(_COLUMNS, len(epsilons))
  rows = -(-len(epsilons) // columns)
  figure = Figure(figsize=(11.0, 3.4 * rows + 4.2), layout="constrained")
  grid = figure.add_gridspec(rows + 1, columns, height_ratios=[*[1.0] * rows, 1.2])
  lines = _styles(curves, styles)
  top = max([1e-3, *(np.max(curve.means + curve.stds) for curve in curves.values())])
  first = None
  for number, epsilon in enumerate(epsilons):
    place = grid[number // columns, number % columns]
    axes = figure.add_subplot(place, sharex=first, sharey=first)
    first = first or axes
    _draw_times(axes, number, curves, lines)
    axes.set_title(f"epsilon {epsilon:g}", loc="left", fontsize=12)
    axes.set_xlabel("attack time (s)")
    if number % columns:
      axes.tick_params(labelleft=False)
    else:
      axes.set_ylabel(ylabel)
  axes = figure.add_subplot(grid[rows, :])
  _draw_epsilons(axes, np.asarray(epsilons, float), curves, lines)
  axes.set(xlabel="epsilon (largest change of an image, image units)", ylabel=ylabel)
  for axes in figure.axes:
    axes.set_ylim(-0.03 * top, 1.06 * top)  # A marker at 0 is not clipped.
    figures.finish(axes)
  handles = dict(zip(*figure.axes[-1].get_legend_handles_labels()[::-1], strict=True))
  style = {"frameon": False, "fontsize": 11, "handlelength": 2.6}
  figure.legend(handles.values(), handles, loc="outside right upper", **style)
  return figure


def _styles(names: Iterable[str], own: figures.Styles | None) -> dict[str, dict[str, Any]]:
  """Colour, dashes and marker of each method; hollow if an earlier one has the colour."""
  markers, seen = itertools.cycle(_MARKERS), set()
  styles: dict[str, dict[str, Any]] = {}
  for name, style in figures.line_styles(names, own).items():
    color = style["color"]
    shape = {"marker": next(markers), "markersize": 8, "capsize": 3.0, "elinewidth": 1.2}
    hollow = {"markerfacecolor": "white", "markeredgecolor": color, "markeredgewidth": 1.4}
    styles[name] = style | shape
    styles[name] |= hollow if color in seen else {"markeredgecolor": "white"}
    seen.add(color)
  return styles


def _draw_times(
  axes: Axes, number: int, curves: Mapping[str, Curve], styles: Mapping[str, dict]
) -> None:
  """Draws the panel of one epsilon; clean data, without an attack, are a line across it."""
  for name, curve in curves.items():
    mean, std, seconds = (values[number] for values in curve)
    style = styles[name]
    if name == types.CLEAN:
      axes.axhline(mean, color=style["color"], linewidth=1.9)
      axes.axhspan(mean - std, mean + std, color=style["color"], alpha=0.14, linewidth=0)
    elif np.isfinite(seconds):  # Times under a millisecond are drawn at a millisecond.
      axes.errorbar(max(seconds, 1e-3), mean, std, **style | {"linestyle": ""})
  axes.set_xscale("log")
  axes.margins(x=0.1)


def _draw_epsilons(
  axes: Axes,
  epsilons: np.ndarray,
  curves: Mapping[str, Curve],
  styles: Mapping[str, dict],
) -> None:
  """Draws lines from clean data at 0, shifted by method so that error bars are visible."""
  clean, style = (
    curves[types.CLEAN],
    styles[types.CLEAN] | {"linestyle": "", "markersize": 9},
  )
  axes.errorbar(0.0, clean.means[0], clean.stds[0], label=types.CLEAN, zorder=5, **style)
  others = [name for name in curves if name != types.CLEAN]
  for number, name in enumerate(others):
    curve = curves[name]
    shift = _APART * epsilons[-1] * (number - (len(others) - 1) / 2.0)
    axes.plot(
      [0.0, epsilons[0] + shift],
      [clean.means[0], curve.means[0]],
      **{key: styles[name][key] for key in ("color", "linestyle", "linewidth")},
      alpha=0.5,
    )
    axes.errorbar(epsilons + shift, curve.means, curve.stds, label=name, **styles[name])
  axes.set_xticks([0.0, *epsilons], ["0", *(f"{epsilon:g}" for epsilon in epsilons)])
