"""The numbers of a run as text: a table for the terminal and its caption."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from pacd_jax.certification import sampling
from pacd_jax.results import ensembles, evaluate, goals, verified

COLUMNS = ("data", "ACR", "% of clean", "ACA %", "accuracy %")


def table(results: evaluate.Results) -> str:
  """The results as plain text under 90 columns: one line per row, then a caption."""
  parts = [aligned([COLUMNS, *cells(results)])]
  if of_balls := verified.cells(results):
    parts += ["", aligned(of_balls)]
  if of_ensembles := ensembles.cells(results):
    parts += ["", aligned(of_ensembles)]
  if of_goals := goals.cells(results):
    parts += ["", aligned(of_goals)]
  return "\n".join([*parts, "", *caption(results)]) + "\n"


def aligned(lines: Sequence[tuple[str, ...]]) -> str:
  """A table as plain text: underlined headings first, numbers aligned to the right."""
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  rule = tuple("-" * width for width in widths)
  text = []
  for first, *others in [lines[0], rule, *lines[1:]]:
    padded = [cell.rjust(w) for cell, w in zip(others, widths[1:], strict=True)]
    text.append("  ".join([first.ljust(widths[0]), *padded]))
  return "\n".join(text)


def latex(lines: Sequence[tuple[str, ...]], *, num_texts: int) -> str:
  """A table, headings first, as a LaTeX tabular with the rules of booktabs.

  Args:
    lines: the cells.
    num_texts: columns to the left that hold text; the others are aligned to the right.
  """

  def row(of_cells):
    return " & ".join(map(_escaped, of_cells)) + r" \\"

  columns = "l" * num_texts + "r" * (len(lines[0]) - num_texts)
  body = [
    rf"\begin{{tabular}}{{{columns}}}",
    r"\toprule",
    row(lines[0]),
    r"\midrule",
    *map(row, lines[1:]),
    r"\bottomrule",
    r"\end{tabular}",
  ]
  return "\n".join(body) + "\n"


def _escaped(text: str) -> str:
  for character in "%_&#":
    text = text.replace(character, "\\" + character)
  return text.replace("±", r"$\pm$")


def cells(results: evaluate.Results) -> list[tuple[str, ...]]:
  """The table's rows as text, one entry for each of `COLUMNS`."""
  percents = evaluate.percent_of_clean(results)
  return [
    (
      row["data"],
      mean_and_std(row, "acr", scale=1.0, digits=3),
      "-" if percent is None else f"{percent:.1f}",
      mean_and_std(row, "aca", scale=100.0, digits=1),
      f"{100.0 * row['accuracy_mean']:.1f}",
    )
    for row, percent in zip(results["rows"], percents, strict=True)
  ]


def caption(results: evaluate.Results) -> list[str]:
  """The settings behind a table, in lines of under 90 columns."""
  row = results["rows"][0]
  lines = [
    f"{results['description']}, class {results['target_class']}: {results['model']}, "
    f"{noise(results)}epsilon {budget(results)}, "
    f"training {results['training']};",
    f"mean ± std over victims: {row['num_seeds']}; {row['split']} points: "
    f"{row['num_points']};",
    *(f"{remark};" for remark in results.get("remarks", ())),
    *ensembles.caption(results),
    *goals.caption(results),
    *sampling_words(results),
  ]
  return wrapped(lines)


def noise(results: Mapping[str, Any]) -> str:
  """The sigma of the certificates, for a caption: "" if they have none."""
  return f"sigma {results['sigma']:g}, " if results["sigma"] else ""


def budget(results: evaluate.Results) -> str:
  """The epsilons and norms of the rows, given once if all rows have the same."""
  own = {
    row["data"]: f"{row['epsilon']:g} ({row['norm']})"
    for row in results["rows"]
    if row.get("epsilon") is not None
  }
  if len(set(own.values())) <= 1:
    return next(iter(own.values()), f"{results['epsilon']:g} ({results['norm']})")
  return ", ".join(f"{name} {words}" for name, words in own.items())


def wrapped(lines: Sequence[str]) -> list[str]:
  """The lines, with long ones wrapped to under 90 columns."""
  return [part for line in lines for part in textwrap.wrap(line, 89)]


def sampling_words(results: evaluate.Results) -> list[str]:
  """The certificates' settings, those of sampling or of balls, as lines of a caption."""
  row = results["rows"][0]
  if row["mode"] is None:
    return verified.caption(results)
  bound = f"alpha {row['alpha']:g}, bound {row['bound']}"
  if row["dtype"] != "float32":
    bound += f"; base classifier in {row['dtype']}"
  if sampling.RULES[row["mode"]].draws_all:
    return [f"n0 {row['n0']:,}, n {row['n']:,}, {bound}"]
  return [
    f"{row['mode']} sampling: n0 {row['n0']:,}, n at most {row['n']:,}, "
    f"samples a point {evaluate.samples_mean(results):,.0f} on average;",
    bound,
  ]


def mean_and_std(row: evaluate.Row, quantity: str, *, scale: float, digits: int) -> str:
  """A quantity's mean and standard deviation over victims as text; "-" if it is None."""
  if row[quantity + "_mean"] is None:
    return "-"
  mean = f"{scale * row[quantity + '_mean']:.{digits}f}"
  if row["num_seeds"] == 1:  # One victim has no spread.
    return mean
  return f"{mean} ± {scale * row[quantity + '_std']:.{digits}f}"
