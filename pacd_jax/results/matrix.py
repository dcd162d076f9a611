"""The numbers of a transfer: every kind of victim on every poison, from runs' results.

See Figure 4 and Table 1 of Mehra et al. (2021), https://arxiv.org/abs/2012.01274.
"""

from collections.abc import Mapping
from typing import Any

from pacd_jax import errors, types
from pacd_jax.results import evaluate, tables, verified

Matrix = dict[str, Any]

# The tabulated quantities of a row -> (title, scale, digits).
QUANTITIES = {
  "acr": ("ACR", 1.0, 3),
  "aca": ("ACA %", 100.0, 1),
  "class_accuracy": ("accuracy % of the class, no noise", 100.0, 1),
}
# Fields that must be equal for victims to be compared.
_SHARED = ("dataset", "description", "target_class", "sigma")
_OF_VICTIM = ("model", "training", "epsilon", "norm", "rows")
_SETTINGS = ("split", "num_points", "mode", "dtype", "n0", "n", "alpha", "bound")


def collect(results: Mapping[str, evaluate.Results]) -> Matrix:
  """The contents of a transfer's `results.json`, from the results of each kind of victim.

  Args:
    results: results by the victims' names; all have the same rows in the same order.

  Returns:
    A dict that JSON can hold: the fields that the victims share, and "victims", a list of
    dicts: "victim" (its name), "model", "training", "epsilon", "norm" and "rows", the last
    as in `evaluate.results`.

  Raises:
    InputError: victims differ in data, class, sigma, rows or settings of certification.
  """
  (first_name, first), *others = results.items()
  for name, other in others:
    for field in _SHARED:
      _check_same(field, (first_name, first[field]), (name, other[field]))
    rows = [[row["data"] for row in one["rows"]] for one in (first, other)]
    _check_same("rows", (first_name, rows[0]), (name, rows[1]))
    for field in _SETTINGS:
      values = [one["rows"][0][field] for one in (first, other)]
      _check_same(f"certify.{field}", (first_name, values[0]), (name, values[1]))
    balls = [verified.line(one["rows"][0]) for one in (first, other)]
    for field in ("procedure", "certified_norm", "certified_epsilon"):
      values = [each[field] for each in balls]
      _check_same(field, (first_name, values[0]), (name, values[1]))
  shared = {field: first[field] for field in _SHARED}
  victims = [
    {name: one[name] for name in _OF_VICTIM} | {"victim": victim}
    for victim, one in results.items()
  ]
  return shared | {"victims": victims}


def _check_same(field: str, one: tuple[str, Any], other: tuple[str, Any]) -> None:
  if one[1] != other[1]:
    raise errors.InputError(
      f"victims {one[0]} and {other[0]} differ in {field} ({one[1]} and {other[1]}): give "
      "all victims the same"
    )


def cells(matrix: Matrix, quantity: str) -> list[tuple[str, ...]]:
  """A table with a line for each poison and a column for each victim, headings first.

  An ACR is followed by its percentage of the same victim's clean ACR.
  """
  title, scale, digits = QUANTITIES[quantity]
  victims = matrix["victims"]
  lines: list[tuple[str, ...]] = [(title, *(victim["victim"] for victim in victims))]
  percents = [evaluate.percent_of_clean(victim) for victim in victims]
  for number, row in enumerate(victims[0]["rows"]):
    line = [row["data"]]
    for victim, percent in zip(victims, percents, strict=True):
      of_victim = victim["rows"][number]
      cell = tables.mean_and_std(of_victim, quantity, scale=scale, digits=digits)
      if quantity == "acr" and percent[number] is not None and row["data"] != types.CLEAN:
        cell += f" ({percent[number]:.0f} %)"
      line.append(cell)
    lines.append(tuple(line))
  return lines


def caption(matrix: Matrix) -> list[str]:
  """The settings behind the tables, in lines of under 90 columns."""
  row = matrix["victims"][0]["rows"][0]
  kinds = [
    f"{victim['victim']}: {victim['model']}, training {victim['training']}"
    for victim in matrix["victims"]
  ]
  text = (
    f"{matrix['description']}, class {matrix['target_class']}, {tables.noise(matrix)}"
    f"epsilon {tables.budget(matrix['victims'][0])}; lines: poisons, columns: "
    f"victims ({'; '.join(kinds)});",
    f"mean ± std over victims: {row['num_seeds']}; {row['split']} points: "
    f"{row['num_points']};",
  )
  return tables.wrapped([*text, *tables.sampling_words(matrix["victims"][0])])


def table(matrix: Matrix) -> str:
  """Every quantity as plain text, one table below the other, then the caption."""
  blocks = [tables.aligned(cells(matrix, quantity)) for quantity in QUANTITIES]
  return "\n\n".join([*blocks, "\n".join(caption(matrix))]) + "\n"
