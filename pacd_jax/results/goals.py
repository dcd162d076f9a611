"""The numbers of attacks on single test images: how many get the label, and how surely.

From the files of a row, `certificates/<row>/goal/`, and `goal_untriggered/` where the
attack has a trigger; and from those of clean victims on the same images, if the run has
them: `certificates/clean/control/<row>/`.
"""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pacd_jax import types
from pacd_jax.certification import certificates, provenance
from pacd_jax.results import evaluate

FIELD = "goal"  # Of a row of results: what `summarize` returns.
_QUANTITIES = ("success", "certified_success", "acr", "aca", "accuracy")
_HEADINGS = ("data", "label", "success %", "its radius", "ACR", "ACA %")
_NONE = "-"
_OF_LINE = tuple(f"{quantity}_mean" for quantity in _QUANTITIES)
# What a goal has beside the quantities of its row, and how the table calls the line.
_BESIDE = {"untriggered": "no trigger", "control": "clean victims"}
# Of a line of `pacd collect`: None where a row has no goal, or its goal none of `_BESIDE`.
COLUMNS = ("goal_label", "goal_trigger", *(f"goal_{name}" for name in _OF_LINE))
COLUMNS += tuple(f"goal_{beside}_{name}" for beside in _BESIDE for name in _OF_LINE)


def certified_success(record: certificates.Record, label: int) -> float:
  """(1/N) sum_i R(x_i) [g(x_i) = label], in image units: how surely images get the label.

  R is the certified l2 radius and g the smoothed classifier. With label -1 it is
  [g(x_i) != y_i], of any wrong class; abstentions count as 0.
  """
  got = record.predict == label
  if label < 0:
    got = (record.predict >= 0) & (record.predict != record.label)
  return float(np.where(got, record.radius, 0.0).mean())


def summarize(folder: str | os.PathLike) -> dict[str, Any] | None:
  """What results say of a row's goal, from `certificates/<row>`; None: it has none.

  Returns:
    A dict that JSON can hold: `label`; `trigger` and its `options`, None without one;
    `num_points`, all images of the goal; `num_certified`; and for each quantity the
    victims' values, their mean and standard deviation: `success`, the share of all images
    that get the label of the base classifier; `accuracy`, the share that gets its own;
    `certified_success`, the mean certified radius of those that get the label; `acr` and
    `aca` towards their own labels. `untriggered` has the quantities without the trigger,
    and `control` those of clean victims on the same images with it; None without files.

  Raises:
    errors.InputError: a file is damaged, or the victims' are of different points.
  """
  folder = pathlib.Path(folder)
  records = evaluate.read_records(folder / "goal")
  if not records:
    return None
  without = evaluate.read_records(folder / "goal_untriggered")
  control = evaluate.read_records(folder.parent / types.CLEAN / "control" / folder.name)
  first = folder.name, records[0]
  for name, of_name in ((folder.name, records[1:]), (types.CLEAN, control)):
    for record in of_name:
      evaluate.check_comparable((name, record), first)
  sidecar = records[0].sidecar
  goal = json.loads(sidecar["goal"])
  trigger = goal["trigger"] or {"name": None, "options": None}
  return {
    "label": goal["label"],
    "trigger": trigger["name"],
    "options": trigger["options"],
    "num_points": sidecar["num_goal_points"],
    "num_certified": len(records[0].idx),
    **_quantities(records, goal["label"]),
    "untriggered": _quantities(without, goal["label"]) if without else None,
    "control": _quantities(control, goal["label"]) if control else None,
  }


def _quantities(records: Sequence[certificates.Record], label: int) -> dict[str, Any]:
  has_radius = provenance.has_radius(records[0].sidecar)
  found: dict[str, Any] = {
    "success": [record.sidecar["success"] for record in records],
    "accuracy": [record.sidecar["accuracy"] for record in records],
    "aca": [evaluate.approximate_certified_accuracy(record) for record in records],
    "certified_success": None,
    "acr": None,
  }
  if has_radius:
    found["certified_success"] = [certified_success(record, label) for record in records]
    found["acr"] = [evaluate.average_certified_radius(record) for record in records]
  for quantity in _QUANTITIES:
    values = found[quantity]
    found[f"{quantity}_mean"] = None if values is None else float(np.mean(values))
    found[f"{quantity}_std"] = None if values is None else evaluate.std(values)
  return found


def line(row: Mapping[str, Any]) -> dict[str, Any]:
  """What `pacd collect` says of a row's goal, by `COLUMNS`."""
  found = dict.fromkeys(COLUMNS)
  if (goal := row.get(FIELD)) is None:
    return found
  found |= {"goal_label": goal["label"], "goal_trigger": goal["trigger"]}
  found |= {f"goal_{name}": goal[name] for name in _OF_LINE}
  for beside, quantities in _beside(goal).items():
    found |= {f"goal_{beside}_{name}": quantities[name] for name in _OF_LINE}
  return found


def cells(results: evaluate.Results) -> list[tuple[str, ...]]:
  """A table of the rows that have a goal, headings first; empty if none has."""
  lines: list[tuple[str, ...]] = []
  for row in results["rows"]:
    if not (goal := row.get(FIELD)):
      continue
    label = "another" if goal["label"] < 0 else str(goal["label"])
    lines.append((row["data"], label, *_cells(goal)))
    for beside, quantities in _beside(goal).items():
      lines.append((f"{row['data']}, {_BESIDE[beside]}", label, *_cells(quantities)))
  return [_HEADINGS, *lines] if lines else []


def _beside(goal: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
  """The quantities that a goal has beside its row's; an earlier version's lack some."""
  return {name: goal[name] for name in _BESIDE if goal.get(name) is not None}


def _cells(quantities: Mapping[str, Any]) -> tuple[str, ...]:
  """Means over victims; those over more than one with their standard deviation."""
  found = []
  for quantity, scale, digits in (
    ("success", 100.0, 1),
    ("certified_success", 1.0, 3),
    ("acr", 1.0, 3),
    ("aca", 100.0, 1),
  ):
    mean, std = quantities[f"{quantity}_mean"], quantities[f"{quantity}_std"]
    if mean is None:
      found.append(_NONE)
      continue
    text = f"{scale * mean:.{digits}f}"
    several = len(quantities[quantity]) > 1
    found.append(f"{text} ± {scale * std:.{digits}f}" if several else text)
  return tuple(found)


def caption(results: evaluate.Results) -> list[str]:
  """What the columns are, for the end of a caption; empty if no row has a goal."""
  goals = [row[FIELD] for row in results["rows"] if row.get(FIELD)]
  if not goals:
    return []
  lines = [
    "of the test images that the attacker wants: success, the share that gets the "
    "attacker's label without noise; its radius, the mean certified radius of that label "
    "(0 where another is predicted); ACR and ACA, of their own labels;"
  ]
  if any(goal["trigger"] for goal in goals):
    lines.append("all with the trigger where there is one; no trigger: without it;")
  if any("control" in _beside(goal) for goal in goals):
    lines.append("clean victims: those of clean data, of the same images as the attack's;")
  return lines
