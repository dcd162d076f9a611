"""Pictures of means and standard deviations against the varied setting of a table."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from pacd_jax.results import figures

_APART = 0.06  # Shift between training sets at places that are names, in place widths.


def means(
  points: Mapping[str, Sequence[tuple[float | str, float, float]]],
  *,
  xlabel: str,
  ylabel: str,
  styles: figures.Styles | None = None,
) -> Figure:
  """Draws a line for each training set, or points if places are names.

  Args:
    points: by training set: (place on the x-axis, mean, standard deviation), in order.
    xlabel: label of the places.
    ylabel: label of the means, with their unit.
    styles: styles of the training sets' lines.
  """
  figure = Figure(figsize=(7.0, 4.2), layout="constrained")
  axes = figure.subplots()
  places = list(dict.fromkeys(p for of_row in points.values() for p, _, _ in of_row))
  are_numbers = not any(isinstance(place, str) for place in places)
  for number, (name, style) in enumerate(figures.line_styles(points, styles).items()):
    shift = 0.0 if are_numbers else (number - (len(points) - 1) / 2.0) * _APART
    x = [p if are_numbers else places.index(p) + shift for p, _, _ in points[name]]
    _, y, spread = zip(*points[name], strict=True)
    if not are_numbers:
      style = style | {"linestyle": "none"}
    axes.errorbar(x, y, spread, label=name, marker="o", markersize=5, capsize=3, **style)
  if not are_numbers:
    axes.set_xticks(range(len(places)), map(str, places))
  elif all(isinstance(place, int) for place in places):
    axes.set_xticks(places)
  axes.set_ylim(bottom=0.0)
  axes.set(xlabel=xlabel, ylabel=ylabel)
  figures.finish(axes)
  figure.legend(loc="outside upper center", ncols=min(4, len(points)), frameon=False)
  return figure
