"""Pictures of the linear case and of its small examples, drawn from plain arrays."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from pacd_jax.results.figures import GREY, finish

# Okabe and Ito's colours; a class has the same colour in every picture.
_POSITIVE, _NEGATIVE, _POISON = "#0072B2", "#E69F00", "#D55E00"
_CURVES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)))


def decision_boundaries(
  positive: np.ndarray,
  negative: np.ndarray,
  panels: Mapping[str, tuple[np.ndarray, float, float]],
) -> Figure:
  """Figure 2 of Mehra et al. (2021): how a poison moves the boundary in one dimension.

  It shows the densities of the classes, that of the poison if it differs from the clean
  class, and the boundary; the side that is classified as negative is shaded.

  Args:
    positive: x^+, `[n]`.
    negative: x^-, `[n]`, clean.
    panels: by title, the negative points `[n]` that were trained on, the threshold -b*/w*,
      and the slope w*.
  """
  figure = Figure(figsize=(8.0, 2.1 * len(panels) + 0.7), layout="constrained")
  everything = np.concatenate([positive, negative, *(u for u, _, _ in panels.values())])
  margin = 0.08 * (everything.max() - everything.min())
  x = np.linspace(everything.min() - margin, everything.max() + margin, 500)
  all_axes = np.atleast_1d(figure.subplots(len(panels), sharex=True, sharey=True))
  for axes, (title, (poison, threshold, slope)) in zip(
    all_axes, panels.items(), strict=True
  ):
    side = (x[0], threshold) if slope > 0 else (threshold, x[-1])
    axes.axvspan(*side, color=_NEGATIVE, alpha=0.1, linewidth=0)
    for points, color, dashes, label in (
      (positive, _POSITIVE, "-", "$P^+$"),
      (negative, _NEGATIVE, "-", "$P^-$, clean"),
      (poison, _POISON, (0, (4, 1.5)), "$P^-_{poison}$, trained on"),
    ):
      if label.startswith("$P^-_{p") and np.array_equal(poison, negative):
        continue
      density = stats.gaussian_kde(points)(x)
      axes.plot(x, density, color=color, linestyle=dashes, linewidth=2.0, label=label)
      axes.fill_between(x, density, color=color, alpha=0.15, linewidth=0)
    axes.axvline(
      threshold, color="black", linestyle="--", linewidth=1.6, label="decision boundary"
    )
    axes.set_title(title, loc="left", fontsize=12)
    axes.set(xlim=(x[0], x[-1]), ylim=(0.0, None), yticks=[], ylabel="density")
    finish(axes)
    axes.grid(visible=False)
  all_axes[-1].set_xlabel("x (shaded: classified as negative)")
  _legend(figure, all_axes, ncols=4)
  return figure


def acr_landscape(
  panels: Mapping[str, tuple[np.ndarray, np.ndarray, float]],
  ends: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
  *,
  gap: float,
) -> Figure:
  """ACR against the mean shift of the poison, the budget, and a solver's starts and ends.

  Args:
    panels: by title, mean shifts `[P]`, their ACR `[P]`, and epsilon.
    ends: by title, the mean shifts of starts `[S]` and of ends `[S]`, and the ends' ACR.
    gap: the mean shift at which the means of the classes are equal.
  """
  figure = Figure(figsize=(4.6 * len(panels), 4.4), layout="constrained")
  all_axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
  for axes, (title, (shifts, acr, epsilon)) in zip(all_axes, panels.items(), strict=True):
    # The curve is not drawn across the jump at equal means.
    for side in (shifts < gap, shifts > gap):
      axes.plot(shifts[side], acr[side], color=_CURVES[0], linewidth=2.0, label="ACR")
    axes.axvspan(-epsilon, epsilon, color=GREY, alpha=0.1, linewidth=0, label="budget")
    axes.axvline(
      gap, color=GREY, linestyle=":", linewidth=1.4, label="equal means: no boundary"
    )
    starts, stops, values = ends[title]
    axes.plot(
      starts,
      np.interp(starts, shifts, acr),
      linestyle="",
      marker="o",
      markersize=4.5,
      markerfacecolor="white",
      color=_POISON,
      label="ApproxGrad starts",
    )
    axes.plot(
      stops,
      values,
      linestyle="",
      marker="*",
      markersize=14,
      color=_POISON,
      label="ApproxGrad ends",
      clip_on=False,
      zorder=5,
    )
    axes.set_title(title, loc="left", fontsize=12)
    axes.set_xlabel("mean shift of the poisoned class (units of x)")
    axes.set_ylim(bottom=0.0)
    finish(axes)
  all_axes[0].set_ylabel("ACR of the negative class (units of x)")
  _legend(figure, all_axes, ncols=3)
  return figure


def plane(
  positive: np.ndarray,
  negative: np.ndarray,
  panels: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> Figure:
  """Two-dimensional classes, the moves of each poison, and the boundary before and after.

  Args:
    positive: x^+, `[p, 2]`.
    negative: x^-, `[n, 2]`.
    panels: by title, the poison `[n, 2]`, and the clean and the poisoned boundary as
      `(w_1, w_2, b)`.
  """
  figure = Figure(figsize=(4.4 * len(panels), 5.3), layout="constrained")
  all_axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
  everything = np.concatenate([positive, negative, *(u for u, _, _ in panels.values())])
  low, high = everything.min(axis=0) - 0.04, everything.max(axis=0) + 0.04
  for axes, (title, (poison, clean_line, poisoned_line)) in zip(
    all_axes, panels.items(), strict=True
  ):
    moves = np.stack([negative, poison], axis=1)
    axes.plot(*moves.transpose(2, 1, 0), color=_POISON, linewidth=0.7, alpha=0.6)
    for points, color, marker, label in (
      (positive, _POSITIVE, "+", "$x^+$"),
      (negative, _NEGATIVE, "o", "$x^-$, clean"),
      (poison, _POISON, "x", "$u$, trained on"),
    ):
      axes.plot(
        *points.T, linestyle="", marker=marker, markersize=5, color=color, label=label
      )
    for line, color, dashes, label in (
      (clean_line, "black", "-", "boundary, clean"),
      (poisoned_line, _POISON, "--", "boundary, poisoned"),
    ):
      _draw_line(axes, line, low, high, color=color, linestyle=dashes, label=label)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel("$x_1$")
    finish(axes)
  all_axes[0].set_ylabel("$x_2$")
  _legend(figure, all_axes, ncols=5)
  return figure


def shift_curves(
  shares: Sequence[float], curves: Mapping[str, np.ndarray], *, unit: str
) -> Figure:
  """The shift of each estimate against the attacker's share of the points.

  Args:
    shares: `[P]` in [0, 1], shares of all points.
    curves: shifts `[P]` by the estimator's name.
    unit: unit of the shifts, in words.
  """
  figure = Figure(figsize=(8.0, 4.6), layout="constrained")
  axes = figure.subplots()
  for number, (name, shifts) in enumerate(curves.items()):
    style = {"color": _CURVES[number % 5], "linestyle": _DASHES[number % 5]}
    axes.plot(100.0 * np.asarray(shares), shifts, label=name, linewidth=2.0, **style)
  axes.set_xlabel("share of the points that is the attacker's (%)")
  axes.set_ylabel(f"shift of the estimate ({unit})")
  axes.set_xlim(0.0, 100.0 * max(shares))
  axes.set_ylim(bottom=0.0)
  finish(axes)
  axes.legend(loc="upper left", frameon=True, edgecolor="none", fontsize=11)
  return figure


def agreement(
  expected: np.ndarray, found: np.ndarray, *, x_label: str, y_label: str, title: str
) -> Figure:
  """A scatter plot of two quantities, with the diagonal on which they agree.

  Args:
    expected: `[N]`, along x.
    found: `[N]`, along y.
    x_label, y_label: labels with their units.
    title: title of the picture.
  """
  figure = Figure(figsize=(5.4, 5.0), layout="constrained")
  axes = figure.subplots()
  ends = np.array(
    [min(expected.min(), found.min()), max(expected.max(), found.max())], np.float64
  )
  ends += 0.04 * (ends[1] - ends[0]) * np.array([-1.0, 1.0])
  axes.plot(ends, ends, color=GREY, linestyle="--", linewidth=1.2, label="equal")
  style = {"linestyle": "", "marker": "o", "markersize": 4.0, "alpha": 0.55}
  axes.plot(expected, found, color=_CURVES[0], markeredgewidth=0.0, **style)
  axes.set(xlim=ends, ylim=ends, aspect="equal")
  axes.locator_params(nbins=5)
  axes.set_title(title, loc="left", fontsize=12)
  axes.set_xlabel(x_label)
  axes.set_ylabel(y_label)
  finish(axes)
  axes.legend(loc="upper left", frameon=True, edgecolor="none", fontsize=11)
  return figure


def _draw_line(axes: Axes, line: np.ndarray, low, high, **style):
  """Draws the line w_1 x_1 + w_2 x_2 + b = 0 across the picture."""
  weights, bias = np.asarray(line[:2]), float(line[2])
  centre = 0.5 * (low + high)
  size = weights @ weights
  foot = centre - (weights @ centre + bias) / size * weights
  along = np.array([-weights[1], weights[0]]) / np.sqrt(size)
  reach = 2.0 * np.linalg.norm(high - low)
  points = foot + reach * np.array([[-1.0], [1.0]]) * along
  axes.plot(*points.T, linewidth=1.9, **style)


def _legend(figure: Figure, all_axes: Iterable[Axes], *, ncols: int):
  """Draws one legend below all panels, with each label once."""
  handles = {}
  for axes in all_axes:
    for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
      handles.setdefault(label, handle)
  figure.legend(
    handles.values(),
    handles,
    loc="outside lower center",
    ncols=ncols,
    frameon=False,
    fontsize=11,
  )
