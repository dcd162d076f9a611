"""The pictures of an audit: estimated changes of classes, and suspicious images."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

_COLUMNS = 8


def patterns(
  panels: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> Figure:
  """A line for each class: its mean, that of trusted images, and the change.

  Changes are magnified alike, so that the largest one has the strongest colours.

  Args:
    panels: by class, two images `[H, W, C]` in [0, 1], and a change in image units.
  """
  figure = Figure(figsize=(6.4, 0.6 + 1.9 * len(panels)), layout="constrained")
  axes = figure.subplots(len(panels), 3, squeeze=False)
  largest = max(float(np.abs(shift).max()) for _, _, shift in panels.values())
  for line, (name, (mean, trusted, shift)) in zip(axes, panels.items(), strict=True):
    _show(line[0], mean)
    _show(line[1], trusted)
    _show_change(line[2], shift, largest)
    line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    line[2].set_xlabel(f"up to {np.abs(shift).max():.3f}", fontsize=8)
  for column, title in zip(axes[0], ("given", "trusted", "change"), strict=True):
    column.set_title(title, fontsize=10)
  return figure


def images(shown: np.ndarray, titles: Sequence[str]) -> Figure:
  """Images uint8 `[n, H, W, C]` in lines of eight, with their titles."""
  num_lines = -(-len(shown) // _COLUMNS)
  figure = Figure(figsize=(9.6, 0.4 + 1.4 * num_lines), layout="constrained")
  axes = figure.subplots(num_lines, _COLUMNS, squeeze=False).ravel()
  for place, panel in enumerate(axes):
    if place < len(shown):
      _show(panel, shown[place] / 255)
      panel.set_title(titles[place], fontsize=8)
    else:
      panel.axis("off")
  return figure


def _show(axes, image: np.ndarray) -> None:
  if image.shape[-1] == 3:
    axes.imshow(image)
  else:
    axes.imshow(image.mean(axis=-1), cmap="gray", vmin=0.0, vmax=1.0)
  axes.set(xticks=[], yticks=[])


def _show_change(axes, shift: np.ndarray, largest: float) -> None:
  if shift.shape[-1] == 3:
    axes.imshow(0.5 + 0.5 * shift / largest)
  else:
    shown = shift.mean(axis=-1)
    axes.imshow(shown, cmap="RdBu_r", vmin=-largest, vmax=largest)
  axes.set(xticks=[], yticks=[])
