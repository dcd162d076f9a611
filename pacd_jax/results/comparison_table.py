"""The numbers of a comparison: every method at every epsilon, from runs' results alone."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pacd_jax import types
from pacd_jax.results import evaluate, tables

Comparison = dict[str, Any]

# The tabulated quantities of a row -> (title, scale, digits).
QUANTITIES = {"acr": ("ACR", 1.0, 3), "aca": ("ACA %", 100.0, 1)}
_SHARED = ("dataset", "description", "target_class", "sigma", "norm", "model", "training")
_COLUMNS = 3  # Columns of epsilons in a text table.


class Entry(NamedTuple):
  """One method at one epsilon."""

  method: str
  epsilon: float  # In image units; 0 for clean data.
  part: str  # Folder of the run that holds it.
  row: str  # Name of its row in that run.


def entries(
  epsilons: Sequence[float], baselines: Sequence[str], variants: Sequence[str]
) -> list[Entry]:
  """The sources of a comparison's numbers: clean data first, then by epsilon.

  Args:
    epsilons: budgets of all methods, in image units.
    baselines: names of the methods that are rows of one run for each epsilon.
    variants: names of PACD's variants, each a separate run for each epsilon.
  """
  found = [Entry(types.CLEAN, 0.0, types.CLEAN, types.CLEAN)]
  for epsilon in map(float, epsilons):
    folder = f"eps_{epsilon!r}"
    found += [Entry(row, epsilon, f"{folder}/baselines", row) for row in baselines]
    found += [Entry(name, epsilon, f"{folder}/{name}", types.PACD) for name in variants]
  return found


def collect(
  entries: Sequence[Entry], results: Mapping[str, evaluate.Results]
) -> Comparison:
  """The contents of a comparison's `results.json`.

  Args:
    entries: the lines, clean data first.
    results: results of each part, by its folder; the parts differ in their attacks alone.

  Returns:
    A dict that JSON can hold: the fields that the parts share, "epsilons", and "rows", a
    dict for each entry: "method", "epsilon" (0.0 for clean data), "part", and the row as in
    `evaluate.results`, with "attack_seconds", None if unknown.
  """
  shared = {field: results[entries[0].part][field] for field in _SHARED}
  rows = []
  for entry in entries:
    by_name = {row["data"]: row for row in results[entry.part]["rows"]}
    own = {"method": entry.method, "epsilon": entry.epsilon, "part": entry.part}
    rows.append(own | {k: v for k, v in by_name[entry.row].items() if k not in own})
  epsilons = sorted({entry.epsilon for entry in entries} - {0.0})
  return shared | {"epsilons": epsilons, "rows": rows}


def methods(comparison: Comparison) -> dict[str, list[evaluate.Row]]:
  """The rows of each method by rising epsilon; the row of clean data is repeated."""
  found = {}
  for row in comparison["rows"]:
    is_clean = row["method"] == types.CLEAN
    times = len(comparison["epsilons"]) if is_clean else 1
    found.setdefault(row["method"], []).extend([row] * times)
  return found


def quantity(comparison: Comparison) -> str:
  """The picture's quantity: "acr", or "aca" if the sampling was for ACA alone."""
  return "acr" if comparison["rows"][0]["acr_mean"] is not None else "aca"


def cells(comparison: Comparison, quantity: str) -> list[tuple[str, ...]]:
  """A table with a line for each method and a column for each epsilon, headings first.

  An ACR is followed by the attack's time, if it is known.
  """
  title, scale, digits = QUANTITIES[quantity]
  epsilons = [f"epsilon {epsilon:g}" for epsilon in comparison["epsilons"]]
  lines: list[tuple[str, ...]] = [(title, *epsilons)]
  for method, rows in methods(comparison).items():
    line = [method]
    for row in rows:
      cell = tables.mean_and_std(row, quantity, scale=scale, digits=digits)
      if quantity == "acr" and row["attack_seconds"] is not None:
        cell += f" ({_time(row['attack_seconds'])})"
      line.append(cell)
    lines.append(tuple(line))
  return lines


def _time(seconds: float) -> str:
  return f"{seconds:,.0f} s" if seconds >= 10.0 else f"{seconds:.2g} s"


def caption(comparison: Comparison) -> list[str]:
  """The settings behind the tables, in lines of under 90 columns."""
  row = comparison["rows"][0]
  lines = [
    f"{comparison['description']}, class {comparison['target_class']}: "
    f"{comparison['model']}, {tables.noise(comparison)}epsilon in "
    f"{comparison['norm']}, training {comparison['training']}; in brackets: wall time of "
    "making the poison, with compilation where the process had not compiled it before;",
    f"mean ± std over victims: {row['num_seeds']}; {row['split']} points: "
    f"{row['num_points']};",
  ]
  return tables.wrapped([*lines, *tables.sampling_words(comparison)])


def table(comparison: Comparison) -> str:
  """Every quantity as plain text, one table below the other, then the caption."""
  blocks = []
  for name in QUANTITIES:
    lines = cells(comparison, name)
    for first in range(1, len(lines[0]), _COLUMNS):
      some = [(line[0], *line[first : first + _COLUMNS]) for line in lines]
      blocks.append(tables.aligned(some))
  return "\n\n".join([*blocks, "\n".join(caption(comparison))]) + "\n"
