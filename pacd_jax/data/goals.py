"""Goals of attacks on single test images: as text, and the images that they are about."""

import json
from typing import Any

import numpy as np

from pacd_jax import errors, types


def to_text(goal: types.Goal | None) -> str:
  """A goal as JSON, as files hold it; "" for None."""
  if goal is None:
    return ""
  trigger = json.loads(goal.trigger) if goal.trigger else None
  label, *points = map(int, (goal.label, *goal.points))  # NumPy's are no JSON.
  about = {"label": label, "points": points, "trigger": trigger}
  return json.dumps(about, sort_keys=True)


def of_text(text: str) -> types.Goal | None:
  """The goal that `to_text` wrote.

  Raises:
    ValueError: it is none; says why.
  """
  if not text:
    return None
  try:
    about = json.loads(text)
  except (ValueError, RecursionError):
    raise ValueError("the goal is no JSON") from None
  if not isinstance(about, dict) or about.keys() != {"label", "points", "trigger"}:
    raise ValueError("the goal has not label, points and trigger alone")
  trigger = about["trigger"]
  points = about["points"]
  return checked(
    types.Goal(
      label=about["label"],
      points=tuple(points) if isinstance(points, list) else points,
      trigger="" if trigger is None else json.dumps(trigger, sort_keys=True),
    )
  )


def checked(goal: types.Goal) -> types.Goal:
  """Returns the goal; raises ValueError, which says why, unless it is one."""
  label, points, trigger = goal
  if not _is_whole(label) or label < -1:
    raise ValueError(f"the goal's label is {label!r}: no class, nor -1")
  if not isinstance(points, tuple) or not all(map(_is_whole, points)):
    raise ValueError("the goal's points are not whole numbers")
  if len(set(points)) < len(points) or min(points, default=0) < 0:
    raise ValueError("the goal's points are not different positions of at least 0")
  if trigger:
    try:
      about = json.loads(trigger)
    except (ValueError, RecursionError):
      raise ValueError("the goal's trigger is no JSON") from None
    if not isinstance(about, dict) or about.keys() != {"name", "options"}:
      raise ValueError("the goal's trigger has not a name and options alone")
  return goal


def positions(goal: types.Goal, dataset: types.Dataset, num_classes: int) -> np.ndarray:
  """The images that a goal is about, in order: int64 `[m]`, positions in a split.

  Args:
    goal: the goal.
    dataset: the test split, or another if the goal has no points.
    num_classes: K.

  Raises:
    errors.InputError: the label is no class of the data, a point is not in the split or
      has the label already, or there is no image of another class.
  """
  if goal.label >= num_classes:
    raise errors.InputError(
      f"the attacker's label is {goal.label}, but there are {num_classes} classes: use at "
      f"most {num_classes - 1}"
    )
  if not goal.points:
    found = np.flatnonzero(dataset.labels != goal.label)
    if not found.size:
      raise errors.InputError(
        f"all test images are of the attacker's label {goal.label}: use another"
      )
    return found
  points = np.sort(np.asarray(goal.points, np.int64))
  if points[-1] >= len(dataset.labels):
    raise errors.InputError(
      f"the attacker's target {points[-1]} is no test image: there are "
      f"{len(dataset.labels)}, from 0"
    )
  own = points[dataset.labels[points] == goal.label]
  if own.size:
    raise errors.InputError(
      f"the attacker's target {own[0]} is of class {goal.label}, which it is to be taken "
      "for: use another label, or a target of another class"
    )
  return points


def _is_whole(value: Any) -> bool:
  return isinstance(value, int | np.integer) and not isinstance(value, bool)
