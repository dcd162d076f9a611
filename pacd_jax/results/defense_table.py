"""The numbers of a matrix of defences: attacks by defences, from runs' results."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from pacd_jax import types
from pacd_jax.results import evaluate, tables

Matrix = dict[str, Any]

ADAPTIVE = "pacd, adaptive"  # The row of an attack that knows the column's defence.
# The tabulated quantities of a row -> (title, scale, digits).
QUANTITIES = {
  "acr": ("ACR", 1.0, 3),
  "aca": ("ACA %", 100.0, 1),
  "accuracy": ("accuracy % over all classes, no noise", 100.0, 1),
}
_SHARED = ("dataset", "description", "target_class", "sigma", "model", "epsilon", "norm")
_COLUMNS = 4  # Columns of defences in a text table.


def undefended(
  base: evaluate.Results, variants: Mapping[str, evaluate.Results]
) -> evaluate.Results:
  """The results of the base, with the row "pacd" of each variant's run behind its own."""
  rows = list(base["rows"])
  for name, of_variant in variants.items():
    (row,) = (row for row in of_variant["rows"] if row["data"] == types.PACD)
    rows.append(row | {"data": name})
  return base | {"rows": rows}


def collect(
  columns: Mapping[str, evaluate.Results],
  *,
  adaptive: Mapping[str, evaluate.Results],
  removed: Mapping[str, Mapping[str, Mapping[str, float]]],
  words: Mapping[str, str],
  filters: Collection[str] = (),
  failed: Mapping[str, Mapping[str, str]] | None = None,
) -> Matrix:
  """The contents of a matrix' `results.json`.

  Args:
    columns: results by defence, the first without one; all have the rows of the first. A
      defence whose run failed has none.
    adaptive: by defence, the results of PACD that knows it.
    removed: by defence and row, the shares of images that it took out.
    words: by column, also of those that failed, what it does.
    filters: the columns that compare images with others, and remove some.
    failed: by column and row, why there are no numbers.

  Returns:
    A dict that JSON can hold: the fields that the runs share, and "columns", a dict for
    each defence: "defense", "words", "is_filter", "failed" (by row, why it is not among
    "rows"), and "rows", as in `evaluate.results` with "accuracy_std", "recovered",
    "recovered_low" and "recovered_high" (of `recovered`; None where there is none),
    "poison_removed" (of clean data: of the images that attacks change) and "clean_removed"
    (of all others).
  """
  first = next(iter(columns.values()))
  undefended = {row["data"]: row for row in first["rows"]}
  found = []
  for defense in words:
    of_column = columns[defense]["rows"] if defense in columns else []
    rows = {row["data"]: row for row in of_column}
    listed = [rows[name] for name in undefended if name in rows]
    if defense in adaptive:
      (own,) = (row for row in adaptive[defense]["rows"] if row["data"] == types.PACD)
      listed.append(own | {"data": ADAPTIVE})
    found.append(
      {
        "defense": defense,
        "words": words[defense],
        "is_filter": defense in filters,
        "failed": dict((failed or {}).get(defense, {})),
        "rows": [
          row
          | {"accuracy_std": evaluate.std(row["accuracy"])}
          | _recovered(row, undefended)
          | {"poison_removed": 0.0, "clean_removed": 0.0}
          | removed.get(defense, {}).get(row["data"], {})
          for row in listed
        ],
      }
    )
  return {field: first[field] for field in _SHARED} | {"columns": found}


def _recovered(
  row: evaluate.Row, undefended: Mapping[str, evaluate.Row]
) -> dict[str, float | None]:
  of_attack = types.PACD if row["data"] == ADAPTIVE else row["data"]
  none = dict.fromkeys(("recovered", "recovered_low", "recovered_high"))
  if of_attack not in undefended or of_attack == types.CLEAN or row["acr"] is None:
    return none
  share = recovered(
    row["acr"], undefended[of_attack]["acr"], undefended[types.CLEAN]["acr"]
  )
  return none if share is None else dict(zip(none, share, strict=True))


def recovered(
  defended: Sequence[float], poisoned: Sequence[float], clean: Sequence[float]
) -> tuple[float, float, float] | None:
  """The share of what an attack took that a defence gives back, with its interval.

    r = (mean defended - mean poisoned) / (mean clean - mean poisoned)

  The interval is r -+ t sd(e) / (sqrt(S) (mean clean - mean poisoned)) with the residuals
  e_s = (defended - poisoned)_s - r (clean - poisoned)_s of the victims, which are paired by
  their seeds (the linearisation of a ratio estimator: Cochran, 1977, section 6.4), and
  Student's t with S - 1 degrees of freedom, at 95 %.

  Args:
    defended: ACRs by seed, of victims of the poison behind the defence.
    poisoned: the same without the defence.
    clean: the same of clean data, without the defence.

  Returns:
    `(r, low, high)`; None with fewer than two victims, or where the same interval of what
    the attack took has 0 in it: a share of next to nothing is no number.
  """
  from scipy import stats  # Imported here: it costs a second.

  gained, lost = np.subtract(defended, poisoned), np.subtract(clean, poisoned)
  num_victims = len(lost)
  if num_victims < 2:
    return None

  def half(values):
    spread = values.std(ddof=1) / np.sqrt(num_victims)
    return float(stats.t.ppf(0.975, num_victims - 1) * spread)

  if lost.mean() <= half(lost):
    return None
  share = float(gained.mean() / lost.mean())
  width = half(gained - share * lost) / float(lost.mean())
  return share, share - width, share + width


# --- as text --------------------------------------------------------------------------


def names(matrix: Matrix) -> list[str]:
  """The names of all rows, in order."""
  found: dict[str, None] = {}
  for column in matrix["columns"]:
    found |= dict.fromkeys(row["data"] for row in column["rows"])
    found |= dict.fromkeys(column["failed"])
  attacks = [name for name in found if name != ADAPTIVE]
  return attacks + [ADAPTIVE] * (ADAPTIVE in found)


def cells(matrix: Matrix, quantity: str) -> list[tuple[str, ...]]:
  """A table with a line for each defence and a column for each attack, headings first."""
  title, scale, digits = QUANTITIES[quantity]

  def cell(row):
    return tables.mean_and_std(row, quantity, scale=scale, digits=digits)

  return _cells(matrix, title, cell)


def recovered_cells(matrix: Matrix) -> list[tuple[str, ...]]:
  """The recovered shares in per cent, with their intervals, laid out as `cells`."""

  def cell(row):
    if row["recovered"] is None:
      return "-"
    share = f"{100 * row['recovered']:.0f}"
    return f"{share} [{100 * row['recovered_low']:.0f}, {100 * row['recovered_high']:.0f}]"

  lines = _cells(matrix, "recovered %", cell, skip=1)
  return [line[:1] + line[2:] for line in lines]  # Nothing was taken from clean data.


def removed_cells(matrix: Matrix) -> list[tuple[str, ...]]:
  """The shares of the poison and of other images that were removed, in per cent."""

  def cell(row):
    poison, rest = (100 * row[f"{part}_removed"] for part in ("poison", "clean"))
    return f"{poison:.1f} / {rest:.1f}"

  title = "removed %: attacked / others"
  return _cells(matrix, title, cell, skip=1)


def _cells(matrix, title, cell, skip=0) -> list[tuple[str, ...]]:
  rows = names(matrix)
  lines: list[tuple[str, ...]] = [(title, *rows)]
  for column in matrix["columns"][skip:]:
    by_name = {row["data"]: row for row in column["rows"]}
    of_column = dict.fromkeys(column["failed"], "failed")
    of_column |= {name: cell(row) for name, row in by_name.items()}
    lines.append((column["defense"], *(of_column.get(name, "") for name in rows)))
  return lines


def failures(matrix: Matrix) -> list[str]:
  """Why there are no numbers, each reason once."""
  reasons = {
    reason: None for column in matrix["columns"] for reason in column["failed"].values()
  }
  return [*reasons]


def caption(matrix: Matrix) -> list[str]:
  """The settings behind the tables, in lines of under 90 columns."""
  first = matrix["columns"][0]
  row = first["rows"][0]
  text = (
    f"{matrix['description']}, class {matrix['target_class']}: {matrix['model']}, "
    f"{tables.noise(matrix)}epsilon {matrix['epsilon']:g} ({matrix['norm']}); lines: "
    "defences, columns: attacks;",
    f"mean ± std over victims: {row['num_seeds']}; {row['split']} points: "
    f"{row['num_points']}; recovered: the share of what the attack took, with a 95 % "
    "interval of Student over victims;",
  )
  return tables.wrapped([*text, *tables.sampling_words(first)])


def table(matrix: Matrix) -> str:
  """Every quantity as plain text, one table below the other, then the caption."""
  every = [cells(matrix, quantity) for quantity in QUANTITIES]
  every[1:1] = [recovered_cells(matrix), removed_cells(matrix)]
  blocks = []
  for lines in every:
    for first in range(1, len(lines[0]), _COLUMNS):
      some = [(line[0], *line[first : first + _COLUMNS]) for line in lines]
      blocks.append(tables.aligned(some))
  if failed := failures(matrix):
    blocks.append("\n".join(f"failed: {reason}" for reason in failed))
  return "\n\n".join([*blocks, "\n".join(caption(matrix))]) + "\n"
