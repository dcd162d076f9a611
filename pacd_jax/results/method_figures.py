"""Pictures that compare methods by their cost, drawn from plain arrays."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

# Okabe and Ito's colours; a method keeps its style in every panel.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def error_against_products(
  panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]],
) -> Figure:
  """Relative error against matrix-vector products, on log scales, one panel per problem.

  Args:
    panels: by the problem's title, the curves by the method's name: numbers of products
      `[P]` and relative errors `[P]`, above 0.
  """
  names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
  styles = {
    name: {
      "color": _COLORS[i % len(_COLORS)],
      "linestyle": _DASHES[i // len(_COLORS)],
      "marker": _MARKERS[i % len(_MARKERS)],
    }
    for i, name in enumerate(names)
  }
  figure = Figure(figsize=(4.6 * len(panels), 5.6), layout="constrained")
  all_axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
  for axes, (title, curves) in zip(all_axes, panels.items(), strict=True):
    for name, (products, errors) in curves.items():
      # After convergence the error is rounding error: it is drawn at the lower limit.
      shown = np.clip(errors, 1e-12, 1e3)
      axes.plot(products, shown, label=name, linewidth=1.4, markersize=4.0, **styles[name])
    axes.set(xscale="log", yscale="log", ylim=(0.5e-12, 2e3))
    axes.set_title(title, loc="left", fontsize=12)
    axes.set_xlabel("products with the matrix", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
  all_axes[0].set_ylabel("relative error of the hypergradient", fontsize=11)
  handles = {}
  for axes in all_axes:
    handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
  figure.legend(
    handles.values(),
    handles,
    loc="outside lower center",
    ncols=5,
    frameon=False,
    fontsize=10,
  )
  return figure
