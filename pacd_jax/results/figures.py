"""Every picture of a run, drawn from plain arrays; only `*figures.py` import matplotlib.

Functions return a `matplotlib.figure.Figure` and `save` writes it. Pages are drawn in
`own_style`, so that no setting of a user's matplotlibrc reaches them. A training set has
the same colour in every picture.

In the shape descriptions `S` is the number of victims, `N` of test points, `R` of radii
and `T` of the attack's outer steps.
"""

import contextlib
import io
import itertools
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Figure
from matplotlib.figure import FigureBase

from pacd_jax import types
from pacd_jax.runtime import files

DPI = 150
# Colour and dashes by row, as in results.json; None, or absent: an unused style.
Styles = Mapping[str, tuple[str, Any] | None]
# Styles for rows without one, in the rows' order: Okabe and Ito's colours, which are safe
# for colour-blind readers, and dashes for print.
_FURTHER_STYLES = (
  ("#CC79A7", (0, (2, 1))),
  ("#56B4E9", (0, (7, 2))),
  ("#5D4B20", (0, (3, 1, 1, 1, 1, 1))),
  ("#000000", (0, (1, 1.2))),
)
GREY = "#666666"


@contextlib.contextmanager
def own_style() -> Generator[None]:
  """Matplotlib's own defaults, whatever a user's matplotlibrc says; also a decorator."""
  with matplotlib.style.context("default"):
    yield


def save(figure: Figure, path: str | os.PathLike) -> None:
  """Writes a figure as PNG with `DPI` dots per inch, atomically: beside, then renamed."""
  FigureCanvasAgg(figure)
  picture = io.BytesIO()  # Pillow would not tell why a file cannot be written.
  figure.savefig(picture, format="png", dpi=DPI)
  files.write(path, picture.getvalue())


def certified_accuracy(
  radii: np.ndarray,
  accuracies: Mapping[str, np.ndarray],
  acrs: Mapping[str, np.ndarray],
  *,
  max_radius: float | None = None,
  max_words: str = "largest possible",
  styles: Styles | None = None,
  norm: str = "l2",
) -> Figure:
  """Certified accuracy against radius: one line per row, with a +-1 std band over victims.

  Args:
    radii: `[R]`, radii in image units, rising.
    accuracies: by row, `[S, R]` in [0, 1].
    acrs: by row, average certified radii `[S]`, for the legend.
    max_radius: the largest radius that a certificate can have, which is marked; or None.
    max_words: what the mark says.
    styles: styles of the rows' lines.
    norm: of the radii, "l2" or "linf".
  """
  figure = Figure(figsize=(8.0, 5.0), layout="constrained")
  axes, mark = figure.subplots(), (max_radius, max_words)
  _draw_certified_accuracy(axes, radii, accuracies, acrs, mark, styles, norm)
  return figure


def top_probability(
  probabilities: Mapping[str, np.ndarray], styles: Styles | None = None
) -> Figure:
  """Empirical distribution function of p_A over test points and victims.

  A point with p_A at or below 1/2 cannot be certified by a one-against-rest bound.

  Args:
    probabilities: by row, the true class's shares of the votes, `[S, N]` in [0, 1].
    styles: styles of the rows' lines.
  """
  figure = Figure(figsize=(8.0, 5.0), layout="constrained")
  axes = figure.subplots()
  lines = line_styles(probabilities, styles)
  for name, values in probabilities.items():
    label = f"{name}: {100.0 * np.mean(values <= 0.5):.0f} % at or below 1/2"
    axes.ecdf(np.ravel(values), label=label, **lines[name])
  _mark(axes, 0.5, "1/2", y=0.6)
  axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.01))
  axes.set_xlabel("$p_A$: share of the noisy copies voting for the true class")
  axes.set_ylabel("share of test points and victims up to $p_A$")
  finish(axes)
  axes.legend(loc="upper left", frameon=True, edgecolor="none", fontsize=11)
  return figure


def _short(value: float) -> str:
  """Formats a value with three decimals below 1 and one above; 0 is written as 0."""
  return f"{value:.{3 if value < 1.0 else 1}f}" if value else "0"


def transfer(
  victims: Sequence[str],
  panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]],
  styles: Styles | None = None,
) -> Figure:
  """Bars of every poison for every kind of victim, as in Figure 4 of Mehra et al. (2021).

  Args:
    victims: names of the `V` kinds of victims.
    panels: by the quantity's title, the rows by name: means and standard deviations over
      victims, `[V]` each; NaN for a missing value.
    styles: styles of the rows.
  """
  figure = Figure(figsize=(8.0, 3.6 * len(panels)), layout="constrained")
  for axes, (title, rows) in zip(
    np.atleast_1d(figure.subplots(len(panels))), panels.items(), strict=True
  ):
    lines, width = line_styles(rows, styles), 0.8 / len(rows)
    for number, (name, (means, stds)) in enumerate(rows.items()):
      places = np.arange(len(victims)) + (number - (len(rows) - 1) / 2.0) * width
      bars = axes.bar(
        places,
        means,
        0.9 * width,
        yerr=stds,
        color=lines[name]["color"],
        label="clean data" if name == types.CLEAN else f"poison {name}",
        error_kw={"elinewidth": 1.0, "capsize": 2.5, "ecolor": GREY},
      )
      # Labels, since a bar of height 0 is invisible.
      axes.bar_label(bars, fmt=_short, padding=1.5, fontsize=7, color=GREY)
    axes.set_xticks(range(len(victims)), victims)
    axes.set_ylim(bottom=0.0)
    axes.set_title(title, loc="left", fontsize=12)
    finish(axes)
  figure.axes[-1].set_xlabel("how the victims were trained")
  handles, labels = figure.axes[0].get_legend_handles_labels()
  figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
  return figure


def gallery(
  base_images: np.ndarray, images: np.ndarray, *, title: str = "", num_images: int = 8
) -> Figure:
  """Three rows of images: base images, poisoned images, and magnified differences.

  Args:
    base_images: uint8 `[n, H, W, C]`, C = 1 or 3.
    images: uint8 `[n, H, W, C]`, the poisoned images.
    title: title of the picture.
    num_images: number of images to show, evenly spaced over the n.
  """
  num_images = min(num_images, len(images))
  grey = images.shape[-1] == 1
  height = 3.4 + (0.75 if grey else 0.0) + (0.3 if title else 0.0)
  figure = Figure(figsize=(1.7 + max(3, num_images), height), layout="constrained")
  _draw_gallery(figure, base_images, images, num_images)
  if title:
    figure.suptitle(title, fontsize=13)
  return figure


def attack_curves(metrics: Mapping[str, np.ndarray]) -> Figure:
  """Upper loss, lower loss and the linear solve's residual against the outer step.

  Args:
    metrics: arrays `[T]`, named as they are logged:
      step: the outer step.
      upper: the attack's objective, such as the soft ACR on the surrogate.
      lower: the surrogate's training loss.
      relative_residual: |b - A p| / |b| of the linear solve; 0 is drawn as b = 0.
      negative_curvature: bool, the solve met a direction p with p'Ap <= 0.
      restart: bool, a surrogate was restarted before this step.
  """
  step, restart = metrics["step"], metrics["restart"]
  solved = metrics["relative_residual"] > 0
  residual = np.where(solved, metrics["relative_residual"], np.nan)
  figure = Figure(figsize=(8.0, 7.5), layout="constrained")
  top, middle, bottom = figure.subplots(3, sharex=True)
  for axes, values, title in (
    (top, metrics["upper"], "Upper loss: the objective on the surrogate"),
    (middle, metrics["lower"], "Lower loss: the surrogate's training loss"),
    (bottom, residual, "Relative residual |b - A p| / |b| of the linear solve"),
  ):
    for x in step[restart]:
      axes.axvline(x, color=GREY, linewidth=0.9, linestyle=":", zorder=1)
    # A value between steps without one has no line.
    alone = "." if values is residual else None
    axes.plot(step, values, color="#0072B2", linewidth=1.2, marker=alone, markersize=3)
    axes.set_title(title, loc="left", fontsize=12)
    finish(axes)
  top.set_ylim(bottom=min(0.0, np.nanmin(metrics["upper"])))
  bottom.set(yscale="log" if solved.any() else "linear", xlabel="outer step")
  if restart.any():
    bottom.plot([], [], color=GREY, linestyle=":", label="surrogate restarted")
  unsolved = metrics["relative_residual"] == 0
  negative = metrics["negative_curvature"] & solved
  floor = np.full(len(step), 0.03)
  for at, y, marker, color, what, transform in (
    (negative, residual, "x", "#D55E00", "negative curvature", bottom.transData),
    (unsolved, floor, "^", "black", "zero upper gradient", bottom.get_xaxis_transform()),
  ):
    style = {"marker": marker, "color": color, "transform": transform, "linestyle": ""}
    if at.any():
      label = f"{what} ({at.sum()} of {len(step)})"
      bottom.plot(step[at], y[at], label=label, **style)
  if bottom.get_legend_handles_labels()[0]:
    style = {"ncols": 3, "frameon": False, "handlelength": 1.5, "columnspacing": 1.5}
    figure.legend(loc="outside lower center", fontsize=11, **style)
  return figure


def overview(
  base_images: np.ndarray,
  images: np.ndarray,
  radii: np.ndarray,
  accuracies: Mapping[str, np.ndarray],
  acrs: Mapping[str, np.ndarray],
  *,
  max_radius: float | None = None,
  max_words: str = "largest possible",
  styles: Styles | None = None,
  norm: str = "l2",
) -> Figure:
  """An overview of the run: changed images, and certified accuracy.

  Args are those of `gallery` and `certified_accuracy`.
  """
  figure = Figure(figsize=(11.0, 4.6), layout="constrained")
  widths = (1.1, 1.0)
  left, right = figure.subfigures(1, 2, False, width_ratios=widths, wspace=0.03)[0]
  _draw_gallery(left, base_images, images, min(4, len(images)))
  left.suptitle("A change of the training images ...", fontsize=13)
  axes = right.subplots()
  mark = max_radius, max_words
  _draw_certified_accuracy(axes, radii, accuracies, acrs, mark, styles, norm)
  right.suptitle("... and what victims can still certify", fontsize=13)
  return figure


def _draw_certified_accuracy(axes, radii, accuracies, acrs, mark, styles, norm):
  lines = line_styles(accuracies, styles)
  for name, values in accuracies.items():
    mean = values.mean(axis=0)
    std = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(mean)
    label = f"{name}: ACR {np.mean(acrs[name]):.3f}"
    axes.plot(radii, mean, label=label, **lines[name])
    band = np.clip([mean - std, mean + std], 0.0, 1.0)
    axes.fill_between(radii, *band, fc=lines[name]["color"], alpha=0.14, linewidth=0)
  at, words = mark
  if at is not None:
    _mark(axes, at, words, y=0.5)
  axes.set(xlim=(0.0, radii[-1]), ylim=(0.0, 1.01))
  symbol = r"\infty" if norm == "linf" else "2"
  axes.set_xlabel(rf"certified $\ell_{{{symbol}}}$ radius (image units, pixels in [0, 1])")
  axes.set_ylabel("certified accuracy")
  finish(axes)
  axes.legend(loc="best", frameon=True, edgecolor="none", fontsize=11)


def _draw_gallery(figure: FigureBase, base_images, images, num_images):
  chosen = np.linspace(0, len(images) - 1, num_images).round().astype(int)
  base, poison = base_images[chosen], images[chosen]
  grey = images.shape[-1] == 1
  difference = poison.astype(int) - base.astype(int)
  # Magnified to the full range of a picture: [-1, 1] of a colour map, or 1/2 around grey.
  largest = max(1, np.abs(images.astype(int) - base_images).max())
  factor = max(1, (255 if grey else 127) // largest)
  if grey:
    base, poison, difference = (x[..., 0] for x in (base, poison, difference))
    shown = difference / 255.0
    color = {"cmap": "RdBu_r", "vmin": -1.0 / factor, "vmax": 1.0 / factor}
  else:
    shown, color = np.clip(0.5 + factor * difference / 255.0, 0.0, 1.0), {}
  panels = figure.subplots(3, num_images, squeeze=False)
  plain, title = {"cmap": "gray", "vmin": 0, "vmax": 255}, f"difference\n×{factor}"
  rows = ("original", base, plain), ("poison", poison, plain), (title, shown, color)
  drawn = None
  for row, (label, pictures, options) in zip(panels, rows, strict=True):
    for axes, picture in zip(row, pictures, strict=True):
      drawn = axes.imshow(picture, interpolation="nearest", **options)
      axes.set(xticks=[], yticks=[])
      axes.spines[:].set(color="#999999", linewidth=0.6)
    row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=12)
  if grey and drawn is not None:
    bar = figure.colorbar(drawn, ax=panels, location="bottom", aspect=45, format="%.2g")
    bar.set_ticks((np.linspace(-1.0, 1.0, 5) / factor).tolist())
    bar.set_label("change of a pixel (image units)", fontsize=11)
    bar.outline.set_visible(False)


def line_styles(
  names: Iterable[str], styles: Styles | None = None
) -> dict[str, dict[str, Any]]:
  """Colour, dashes and width of each row's line: its own style, or an unused one."""
  further, known = itertools.cycle(_FURTHER_STYLES), styles or {}
  chosen = {name: known.get(name) or next(further) for name in names}
  return {
    name: {
      "color": color,
      "linestyle": dashes if isinstance(dashes, str) else (dashes[0], tuple(dashes[1])),
      "linewidth": 2.6 if name == types.PACD else 1.9,
    }
    for name, (color, dashes) in chosen.items()
  }


def _mark(axes: Axes, x: float, text: str, *, y: float):
  axes.axvline(x, color=GREY, linewidth=1.1, linestyle="--", zorder=1)
  where = axes.get_xaxis_transform()  # Data along x, share of the height along y.
  style = {"rotation": 90, "ha": "right", "va": "center", "color": GREY}
  axes.annotate(text, (x, y), (-4, 0), where, "offset points", **style)


def finish(axes: Axes):
  """Applies the common style of all pictures: no box, a faint grid, readable labels."""
  axes.spines[["top", "right"]].set_visible(False)
  axes.grid(color="#e4e4e4", linewidth=0.8)
  axes.set_axisbelow(True)
  axes.tick_params(labelsize=11, color=GREY)
  axes.xaxis.label.set_fontsize(12)
  axes.yaxis.label.set_fontsize(12)
