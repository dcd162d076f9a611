"""The pictures of the page: means against what a table varies, and the poisoned images."""

import pathlib
from collections.abc import Sequence

from pacd_jax.experiment import words
from pacd_jax.paper import work
from pacd_jax.paper.catalog import Item
from pacd_jax.paper.lines import Line
from pacd_jax.paper.protocol import Protocol, Run
from pacd_jax.results import figures, map_figures, paper_figures
from pacd_jax.results import pictures as run_pictures

_LABELS = {
  "epsilon": "epsilon (image units)",
  "alpha": "poisoned share alpha of the class",
  "epochs": "epochs of the victims",
  "clean epochs after": "epochs on clean data after those on the poison",
  "class": "target class",
  "k": "k, noise samples of the victims' MACER",
  "victim": "how the victims were trained",
}


@figures.own_style()
def draw(
  stem: pathlib.Path,
  protocol: Protocol,
  item: Item,
  runs: Sequence[Run],
  found: Sequence[Line],
) -> list[pathlib.Path]:
  """Draws a table's pictures from the lines that have numbers.

  Returns:
    The pictures' files; none where the table has no axis.
  """
  drawn = []
  points = _points(item, found)
  if points:
    x_axis = _LABELS[item.axis]
    figure = paper_figures.means(
      points,
      xlabel=x_axis,
      ylabel="ACR of the target class",
      styles={row: words.style(row) for row in points},
    )
    drawn.append(_saved(figure, stem))
  if item.grid and (cells := _cells(item, found)):
    figure = map_figures.ratios(
      cells, xlabel=_LABELS[item.grid[0]], ylabel=_LABELS[item.grid[1]]
    )
    drawn.append(_saved(figure, stem))
  if item.axis == "epsilon":
    for run in runs:
      drawn += _gallery(stem, protocol, run)
  return drawn


def _points(item: Item, found: Sequence[Line]) -> dict[str, list[tuple]]:
  """Training set -> (place, mean, std) of its ACR, in the order of the table."""
  points = {}
  for line in found:
    if item.axis and line.quantity == "acr" and line.here is not None:
      place = line.settings[item.axis]
      std = line.here.std or 0.0
      points.setdefault(line.row, []).append((place, line.here.mean, std))
  if item.axis == "epsilon" and "clean" in points:  # Clean images are at epsilon 0.
    (_, mean, std), *_ = points.pop("clean")
    points = {row: [(0.0, mean, std), *of_row] for row, of_row in points.items()}
  return points


def _cells(item: Item, found: Sequence[Line]) -> dict[str, dict[tuple, tuple]]:
  """Panel -> (x, y) -> (ratio, low, high); panels of one cell are left to the table."""
  panels = {}
  for line in found:
    if line.quantity == "of_best" and line.here is not None:
      x, y = (line.settings[name] for name in item.grid)
      others = {n: v for n, v in line.settings.items() if n not in item.grid}
      title = ", ".join(f"{name} {work.text(value)}" for name, value in others.items())
      cell = line.here.mean, line.here.low, line.here.high
      panels.setdefault(title, {})[x, y] = cell
  return {title: cells for title, cells in panels.items() if len(cells) > 1}


def _gallery(stem: pathlib.Path, protocol: Protocol, run: Run) -> list[pathlib.Path]:
  epsilon = work.text(run.settings["epsilon"])
  figure = run_pictures.gallery(
    protocol.folder(run), "pacd", title=f"PACD, epsilon {epsilon}"
  )
  if figure is None:
    return []
  return [_saved(figure, stem.with_name(f"{stem.name}_{epsilon}"))]


def _saved(figure, stem: pathlib.Path) -> pathlib.Path:
  path = stem.with_name(f"{stem.name}.png")
  path.parent.mkdir(parents=True, exist_ok=True)
  figures.save(figure, path)
  return path
