"""Pictures of what networks memorise, after figure 1 of Zhang et al. (2017).

https://arxiv.org/abs/1611.03530; drawn from plain arrays.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from pacd_jax.results import figures


def learning_curves(
  panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]],
  styles: figures.Styles | None = None,
) -> Figure:
  """Training loss and accuracy by epoch, a line of pictures for each run.

  Args:
    panels: by title, and then by row, losses and accuracies `[S, T]`, of S victims.
    styles: styles of the rows' lines.
  """
  figure = Figure(figsize=(11.0, 3.6 * len(panels) + 0.5), layout="constrained")
  all_axes = figure.subplots(len(panels), 2, squeeze=False)
  for both, (title, rows) in zip(all_axes, panels.items(), strict=True):
    lines = figures.line_styles(rows, styles)
    for row, curves in rows.items():
      for axes, values in zip(both, curves, strict=True):
        epochs = np.arange(1, values.shape[1] + 1)
        mean = values.mean(axis=0)
        axes.plot(epochs, mean, label=row, **lines[row])
        colour = lines[row]["color"]
        low, high = values.min(axis=0), values.max(axis=0)
        axes.fill_between(epochs, low, high, fc=colour, alpha=0.14, linewidth=0)
    both[0].set_title(title, loc="left", fontsize=12)
    both[0].set_ylabel("training loss")
    both[1].set_ylabel("training accuracy")
    both[1].axhline(0.99, color=figures.GREY, linestyle=":", linewidth=1.0)
    both[0].set(ylim=(0.0, None))
    both[1].set(ylim=(0.0, 1.02))
    for axes in both:
      axes.set(xscale="log", xlim=(1, None), xlabel="epoch")
      figures.finish(axes)
  all_axes[0, 1].legend(loc="best", frameon=True, edgecolor="none", fontsize=10)
  return figure


def against_corruption(
  shares: np.ndarray, values: Mapping[str, np.ndarray], y_label: str
) -> Figure:
  """A number against the share of corrupted labels, a line for each way of training.

  Args:
    shares: p, `[P]`, rising.
    values: by name, `[P]`; NaN where there is none.
    y_label: what they are.
  """
  figure = Figure(figsize=(6.5, 4.2), layout="constrained")
  axes = figure.subplots()
  lines = figures.line_styles(values)
  for name, of_one in values.items():
    axes.plot(shares, of_one, label=name, marker="o", **lines[name])
  axes.set(xlim=(shares[0] - 0.02, shares[-1] + 0.02), ylim=(0.0, None))
  axes.set_xlabel("share of labels drawn anew")
  axes.set_ylabel(y_label)
  figures.finish(axes)
  axes.legend(loc="best", frameon=True, edgecolor="none", fontsize=11)
  return figure
