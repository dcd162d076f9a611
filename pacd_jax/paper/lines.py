"""The lines of a table: numbers from finished runs' files, and those of the paper."""

import math
from typing import Any, NamedTuple

from pacd_jax import types
from pacd_jax.paper import analyses, catalog, published
from pacd_jax.paper.analyses import Measured
from pacd_jax.paper.catalog import Item
from pacd_jax.paper.protocol import Protocol, Run
from pacd_jax.results import evaluate

_OF_CERTIFICATES = ("acr", "aca", "class_accuracy")
# Analyses that compare with clean data, which have no line then.
_AGAINST_CLEAN = ("detectability", "paired")


class Line(NamedTuple):
  """One number of a table, here and in the paper."""

  settings: dict[str, Any]  # What the table varies.
  row: str  # Training set, as tables call it.
  quantity: str
  here: Measured | None  # None if its run is not finished, or has no such number.
  paper: published.Value | None
  run: str
  is_done: bool  # False if a run or a measurement could still bring `here`.


def certified(folder, row: str) -> dict[str, Measured]:
  """The ACR, ACA and noise-free accuracy of a run's certificates of one training set.

  Raises:
    errors.InputError: a certificate is damaged.
  """
  summary = evaluate.summarize(row, evaluate.read_records(folder / "certificates" / row))
  number = summary["num_seeds"]
  std = {n: summary[f"{n}_std"] if number > 1 else None for n in _OF_CERTIFICATES}
  return {
    name: Measured(summary[f"{name}_mean"], std[name], number)
    for name in _OF_CERTIFICATES
    if summary[f"{name}_mean"] is not None
  }


def lines(protocol: Protocol, item: Item) -> list[Line]:
  """All lines of a table; those of unfinished runs have no number here.

  Args:
    protocol: where the runs are.
    item: the table.

  Raises:
    errors.InputError: a folder holds another protocol's run, or a damaged file.
  """
  found, runs = [], item.runs(protocol)
  for run in runs:
    measured, is_finished = _measured(protocol, item, run), protocol.is_finished(run)
    for row in item.rows(run):
      settings = dict(run.settings)
      if row == types.CLEAN and item.axis == "epsilon":
        if run.name != runs[0].name:
          continue  # Clean images have no epsilon: one line is enough.
        settings["epsilon"] = 0.0
      for quantity in item.quantities:
        if row == types.CLEAN and item.analysis in _AGAINST_CLEAN:
          continue
        here = measured.get(row, {}).get(quantity)
        paper = None
        if item.published:
          setting = run.settings[item.columns[0]]
          # The paper's PACD is its authors', whoever's stands in our line.
          name = types.PACD if run.shown(row) == catalog.PACD_AUTHORS else row
          paper = published.value(item.published, protocol.dataset, setting, name, quantity)
        is_done = is_finished and (
          quantity in _OF_CERTIFICATES or any(quantity in q for q in measured.values())
        )
        shown = run.shown(row)
        found.append(Line(settings, shown, quantity, here, paper, run.name, is_done))
  return found


def _measured(protocol: Protocol, item: Item, run: Run) -> dict[str, dict[str, Measured]]:
  """Training set -> quantity -> number; empty where the run is not finished."""
  if not protocol.is_finished(run):
    return {}
  folder, rows = protocol.folder(run), item.rows(run)
  found = {row: certified(folder, row) for row in rows}
  if item.analysis:
    for row, values in analyses.read(item.analysis, folder, rows).items():
      found[row] |= values
  return found


def standard_error(measured: Measured) -> float | None:
  """std / sqrt(S) over S victims; None for one victim."""
  if measured.number < 2 or measured.std is None:
    return None
  return measured.std / math.sqrt(measured.number)
