"""Pictures of what defences do to images, drawn from plain arrays."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure


def changes(
  pictures: Mapping[str, np.ndarray], *, title: str = "", num_images: int = 8
) -> Figure:
  """One row of images for each state: the same images as they were and as they became.

  Args:
    pictures: by the state's name, uint8 `[n, H, W, C]`, C = 1 or 3, n of all the same.
    title: title of the picture.
    num_images: number of images to show, evenly spaced over the n.
  """
  first = next(iter(pictures.values()))
  num_images = min(num_images, len(first))
  chosen = np.linspace(0, len(first) - 1, num_images).round().astype(int)
  height = 1.05 * len(pictures) + (0.4 if title else 0.1)
  figure = Figure(figsize=(1.9 + max(3, num_images), height), layout="constrained")
  panels = figure.subplots(len(pictures), num_images, squeeze=False)
  for row, (name, images) in zip(panels, pictures.items(), strict=True):
    for axes, image in zip(row, images[chosen], strict=True):
      shown = image[..., 0] if image.shape[-1] == 1 else image
      axes.imshow(shown, interpolation="nearest", cmap="gray", vmin=0, vmax=255)
      axes.set(xticks=[], yticks=[])
      axes.spines[:].set(color="#999999", linewidth=0.6)
    row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=12)
  if title:
    figure.suptitle(title, fontsize=13)
  return figure
