"""The numbers of a table of attacks: what each changes, what victims keep, what it gets."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pacd_jax import types
from pacd_jax.results import evaluate, goals, tables

Table = dict[str, Any]

_SHARED = ("dataset", "description", "target_class", "sigma", "norm", "epsilon", "model")
_NONE = "-"


class Facts(NamedTuple):
  """What a poison changes."""

  num_train: int  # Images of the training split.
  num_images: int  # Those that it changes or inserts.
  num_relabelled: int  # Of these, those whose label is another than their base image's.
  num_inserted: int
  linf: float  # The largest change of an image, image units,
  l2: float  # in either norm.
  is_bounded: bool  # Whether the run's budget bounds it; else, its own options.


class Line(NamedTuple):
  """One line of the table."""

  name: str
  part: str  # Folder of the run that holds it.
  row: str  # Name of its row in that run.
  clean: str = types.CLEAN  # Name of the line of clean data with the same victims.
  facts: Facts | None = None  # None: clean data.


def collect(lines: Sequence[Line], results: Mapping[str, evaluate.Results]) -> Table:
  """The contents of a table's `results.json`.

  Args:
    lines: the lines, each behind that of the clean data of its victims.
    results: results of each part, by its folder.

  Returns:
    A dict that JSON can hold: the fields that the parts share, and "rows", a dict for each
    line: "attack", "part", "clean" (the name of a line), "training", the fields of `Facts`
    under "changes" (None for clean data), and the row as in `evaluate.results` with
    "accuracy_std", and "percent_of_clean": 100 ACR / (ACR of the clean line), None if that
    is undefined.
  """
  found: dict[str, evaluate.Row] = {}
  for line in lines:
    of_part = results[line.part]
    (row,) = (row for row in of_part["rows"] if row["data"] == line.row)
    clean = row if line.facts is None else found[line.clean]
    found[line.name] = row | {
      "attack": line.name,
      "part": line.part,
      "clean": line.clean,
      "training": of_part["training"],
      "changes": None if line.facts is None else line.facts._asdict(),
      "accuracy_std": evaluate.std(row["accuracy"]),
      "percent_of_clean": evaluate.percent(row["acr_mean"], clean["acr_mean"]),
    }
  shared = {field: results[lines[0].part][field] for field in _SHARED}
  return shared | {"rows": [*found.values()]}


# --- as text --------------------------------------------------------------------------

_CellFn = Callable[[evaluate.Row], str]


def _of_changes(cell: Callable[[Mapping[str, Any]], str]) -> _CellFn:
  """A cell on what an attack changes; clean data have none."""
  return lambda row: _NONE if row["changes"] is None else cell(row["changes"])


def _budget(row: evaluate.Row) -> str:
  """The budget of an attack that has one; else its largest change in both norms."""
  changes = row["changes"]
  if changes["is_bounded"]:
    return f"{row['epsilon']:.3g} {row['norm']}"
  return f"{changes['linf']:.2f} linf, {changes['l2']:.2g} l2"


def _quantity(name: str, scale: float, digits: int) -> _CellFn:
  return lambda row: tables.mean_and_std(row, name, scale=scale, digits=digits)


def _of_goal(name: str, scale: float, digits: int, beside: str | None = None) -> _CellFn:
  """A cell on what the attacker gets, or of `beside` in its goal."""

  def cell(row):
    goal = row.get(goals.FIELD)
    if goal and beside:
      goal = goal.get(beside)
    if not goal:
      return _NONE
    own = goal | {"num_seeds": len(goal[name])} if goal[name] is not None else goal
    return tables.mean_and_std(own, name, scale=scale, digits=digits)

  return cell


def _percent_cell(row: evaluate.Row) -> str:
  percent = row["percent_of_clean"]
  return _NONE if percent is None else f"{percent:.1f}"


def _seconds(row: evaluate.Row) -> str:
  seconds = row["attack_seconds"]
  return (
    _NONE if seconds is None else f"{seconds:,.3g}" if seconds < 10 else f"{seconds:,.0f}"
  )


CHANGES: dict[str, _CellFn] = {
  "largest change": lambda row: _NONE if row["changes"] is None else _budget(row),
  "images %": _of_changes(lambda c: f"{100 * c['num_images'] / c['num_train']:.3g}"),
  "relabelled %": _of_changes(
    lambda c: f"{100 * c['num_relabelled'] / c['num_train']:.3g}"
  ),
  "inserted %": _of_changes(lambda c: f"{100 * c['num_inserted'] / c['num_train']:.3g}"),
  "seconds": _seconds,
}
EFFECTS: dict[str, _CellFn] = {
  "ACR": _quantity("acr", 1.0, 3),
  "% of clean": _percent_cell,
  "ACA %": _quantity("aca", 100.0, 1),
  "accuracy %": _quantity("accuracy", 100.0, 1),
  "success %": _of_goal("success", 100.0, 1),
  "of clean %": _of_goal("success", 100.0, 1, beside="control"),
  "its radius": _of_goal("certified_success", 1.0, 3),
}


def cells(table: Table, columns: Mapping[str, _CellFn]) -> list[tuple[str, ...]]:
  """A table with a line for each attack, headings first; `CHANGES`, `EFFECTS` or both."""
  lines: list[tuple[str, ...]] = [("attack", *columns)]
  lines += [
    (row["attack"], *(cell(row) for cell in columns.values())) for row in table["rows"]
  ]
  return lines


def quantity(table: Table) -> str:
  """The picture's quantity: "acr", or "aca" if the sampling was for ACA alone."""
  return "acr" if table["rows"][0]["acr_mean"] is not None else "aca"


def caption(table: Table) -> list[str]:
  """The settings behind the tables, in lines of under 90 columns."""
  row = table["rows"][0]
  lines = [
    f"{table['description']}, class {table['target_class']}: {table['model']}, "
    f"{tables.noise(table)}training {_training(table)}; shares are of "
    f"{_num_train(table):,} training images; seconds: wall time of making the poison, with "
    "compilation where the process had not compiled it before;",
    f"mean ± std over victims: {row['num_seeds']}; {row['split']} points of the class: "
    f"{row['num_points']};",
    "success: the share of the images that the attacker wants, triggered if there is a "
    "trigger, that get the attacker's label without noise; of clean: the same of victims "
    "of clean data; its radius: the mean certified radius of the attacker's label there, 0 "
    "where another is predicted;",
  ]
  return tables.wrapped([*lines, *tables.sampling_words(table)])


def _training(table: Table) -> str:
  """How victims train, and which lines' victims train otherwise."""
  first = table["rows"][0]["training"]
  others: dict[str, list[str]] = {}
  for row in table["rows"]:
    if row["training"] != first:
      others.setdefault(row["training"], []).append(row["attack"])
  words = [f"{training} for {', '.join(names)}" for training, names in others.items()]
  return "; ".join([first, *words])


def _num_train(table: Table) -> int:
  return next(row["changes"]["num_train"] for row in table["rows"] if row["changes"])


def table(table: Table) -> str:
  """What attacks change and what they do as plain text, then the caption."""
  blocks = [tables.aligned(cells(table, columns)) for columns in (EFFECTS, CHANGES)]
  return "\n\n".join([*blocks, "\n".join(caption(table))]) + "\n"
