"""The lines of a table: what finished runs' files say, and what the paper prints."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from pacd_jax import evaluate
from pacd_jax.paper import analyses, published
from pacd_jax.paper.analyses import Measured
from pacd_jax.paper.catalog import Item
from pacd_jax.paper.protocol import Protocol, Run

# Clean data have no distance from themselves.
_AGAINST_CLEAN = ("detectability", "paired")


class Line(NamedTuple):
  """One number of a table, here and in the paper."""

  settings: dict[str, Any]  # What the table varies.
  row: str  # Training set.
  quantity: str
  here: Measured | None  # None where its run is not finished, or has no such number.
  paper: published.Value | None
  run: str
  is_finished: bool


def certified(folder, row: str) -> dict[str, Measured]:
  """Of a run's certificates of one training set: ACR, ACA and noise-free accuracy.

  Raises:
    errors.InputError: a certificate is damaged.
  """
  summary = evaluate.summarize(row, evaluate.read_records(folder / "certificates" / row))
  number = summary["num_seeds"]
  return {
    name: Measured(summary[f"{name}_mean"], summary[f"{name}_std"], number)
    for name in ("acr", "aca", "class_accuracy")
    if summary[f"{name}_mean"] is not None
  }


def lines(protocol: Protocol, item: Item, runs: Sequence[Run]) -> list[Line]:
  """All lines of a table, unfinished runs' with no number here.

  Args:
    protocol: where the runs are.
    item: the table.
    runs: some of its runs.

  Raises:
    errors.InputError: a folder holds another protocol's run, or a damaged file.
  """
  found = []
  for run in runs:
    measured = _measured(protocol, item, run)
    for row in item.rows(run):
      for quantity in item.quantities:
        if row == "clean" and item.analysis in _AGAINST_CLEAN:
          continue
        here = measured.get(row, {}).get(quantity)
        paper = None
        if item.published:
          setting = run.settings[item.columns[0]]
          paper = published.value(item.published, protocol.dataset, setting, row, quantity)
        found.append(
          Line(dict(run.settings), row, quantity, here, paper, run.name, bool(measured))
        )
  return found


def _measured(protocol: Protocol, item: Item, run: Run) -> dict[str, dict[str, Measured]]:
  """Training set -> quantity -> number; empty where the run is not finished."""
  if not protocol.is_finished(run):
    return {}
  folder = protocol.folder(run)
  rows = item.rows(run)
  found = {row: certified(folder, row) for row in rows}
  if item.analysis:
    analysed = analyses.read(item.analysis, folder, rows)
    if not analysed:
      return {}
    for row, values in analysed.items():
      found[row] |= values
  return found


def standard_error(measured: Measured) -> float | None:
  """std / sqrt(S) over S victims; None for one victim."""
  if measured.number < 2 or measured.std is None:
    return None
  return measured.std / math.sqrt(measured.number)
