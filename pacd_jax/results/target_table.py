"""The numbers of several targets: how many get the attacker's label, and how surely."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pacd_jax.results import evaluate, goals, tables

Targets = dict[str, Any]

_HEADINGS = (
  "victims",
  "data",
  "misled",
  "certified",
  "its radius",
  "own radius",
  "attack s",
)
_NONE = "-"
# A row's list of each target and victim -> the quantity of the run's goal.
_LISTS = {"success": "success", "radius": "certified_success", "own_radius": "acr"}
_SHARED = ("dataset", "description", "target_class", "sigma", "epsilon", "norm")


def collect(results: Mapping[str, evaluate.Results]) -> Targets:
  """The contents of the suite's `results.json`, from those of its runs.

  Args:
    results: by `<training>/target_<position>`; the same rows in all.

  Returns:
    A dict that JSON can hold: what the runs share, and "rows": for each way to train and
    each row "training", "data", "targets" (positions), and of each target lists over the
    victims: "success" (0 or 1: the label without noise), "radius" (certified, of the
    attacker's label; 0: another is predicted, or none) and "own_radius" (of its own); and
    "attack_seconds", of each target.
  """
  first = next(iter(results.values()))
  found: dict[tuple[str, str], dict[str, Any]] = {}
  for part, of_run in results.items():
    training, _, target = part.partition("/target_")
    for row in of_run["rows"]:
      goal = row[goals.FIELD]
      line = found.setdefault(
        (training, row["data"]),
        {"training": training, "data": row["data"]}
        | {name: [] for name in (*_LISTS, "targets", "attack_seconds")},
      )
      line["targets"].append(int(target))
      line["attack_seconds"].append(row.get("attack_seconds"))
      for name, of_goal in _LISTS.items():
        line[name].append(goal[of_goal])
  settings = {name: first["rows"][0][name] for name in ("n", "alpha")}
  return {name: first[name] for name in _SHARED} | settings | {"rows": [*found.values()]}


def cells(collected: Targets) -> list[tuple[str, ...]]:
  """A line for each way to train and each row, headings first."""
  lines: list[tuple[str, ...]] = [_HEADINGS]
  for row in collected["rows"]:
    success, radius, own = (np.array(row[name], float) for name in _LISTS)
    has_radius = not np.isnan(radius).any()  # None: the sampling was for ACA alone.
    certified = radius > 0
    seconds = [each for each in row["attack_seconds"] if each is not None]
    lines.append(
      (
        row["training"],
        row["data"],
        f"{int(success.sum())} of {success.size}",
        f"{certified.sum()} of {certified.size}" if has_radius else _NONE,
        f"{radius[certified].mean():.3f}" if certified.any() else _NONE,
        f"{own.mean():.3f}" if has_radius else _NONE,
        f"{np.mean(seconds):.0f}" if seconds else _NONE,
      )
    )
  return lines


def cells_of_targets(collected: Targets) -> list[tuple[str, ...]]:
  """A line for each target: of how many victims it gets the label, without noise."""
  rows = collected["rows"]
  targets = sorted({target for row in rows for target in row["targets"]})
  lines: list[tuple[str, ...]] = [
    ("target", *(f"{row['training']} {row['data']}" for row in rows))
  ]
  for target in targets:
    line = [str(target)]
    for row in rows:
      place = row["targets"].index(target) if target in row["targets"] else None
      line.append(_NONE if place is None else f"{sum(row['success'][place]):g}")
    lines.append(tuple(line))
  return lines


def table(collected: Targets) -> str:
  """The numbers as plain text, with a caption."""
  return "\n".join([tables.aligned(cells(collected)), "", *caption(collected)]) + "\n"


def _how(collected: Targets) -> str:
  if collected["n"] is None:
    return "by bounds of the network"
  return (
    f"sigma = {collected['sigma']:g}, n = {collected['n']:,}, alpha = "
    f"{collected['alpha']:g}"
  )


def caption(collected: Targets) -> list[str]:
  """What the columns are."""
  rows = collected["rows"]
  targets = len({target for row in rows for target in row["targets"]})
  victims = len(rows[0]["success"][0])
  return [
    f"{targets} targets, each attacked by itself, victims of each: {victims};",
    "misled: targets, times victims, that get the attacker's label "
    f"{collected['target_class']} without noise;",
    "certified: those that the certified classifier certainly gives that label "
    f"({_how(collected)}), and the mean radius of these;",
    "own radius: of the target's own label, 0 where another is predicted, mean over all;",
    "attack s: wall time of making the poison; the first of a run's rows also trains "
    "the network that all of them use",
  ]
