"""Chains of defences, each of which is checked before the next is applied."""

from collections.abc import Sequence

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import training_sets


def apply(
  chain: Sequence[tuple[str, types.DefenceFn]],
  training_set: types.TrainingSet,
  key: types.Key,
  tools: types.Tools,
) -> tuple[types.TrainingSet, list[types.DefenceReport]]:
  """Applies a chain of defences; returns the last one's training set and all reports.

  Stored images keep their positions through the whole chain, so that positions mean the
  same in all reports.

  Args:
    chain: defences with their names.
    training_set: the set before the first defence.
    key: key of the chain; folded, not consumed: defence k, from 0, gets `fold_in(key, k)`.
    tools: what every defence may use.

  Raises:
    errors.InputError: a defence returned an invalid training set, put back an image that
      was not present, left a class without images, or did not report what it did.
  """
  reports = []
  for place, (name, defence) in enumerate(chain):
    defended, report = defence(training_set, jax.random.fold_in(key, place), tools)
    problem = _problem(training_set, defended, report, tools.num_classes)
    if problem:
      raise errors.InputError(f"defence {name!r}, {place + 1} of {len(chain)}: {problem}")
    training_set = defended
    reports.append(report)
  return training_set, reports


def _problem(
  before: types.TrainingSet,
  after: types.TrainingSet,
  report: types.DefenceReport,
  num_classes: int,
) -> str:
  """An error in what a defence returned, with a remedy; "" if there is none."""
  return (
    _of_arrays(before, after, num_classes)
    or _of_positions(before, after)
    or _of_classes(before, after)
    or _of_report(before, after, report)
  )


def _of_arrays(
  before: types.TrainingSet, after: types.TrainingSet, num_classes: int
) -> str:
  images, labels, _ = after
  if images.dtype != np.uint8 or images.shape[1:] != before.images.shape[1:]:
    return (
      f"it returned images {images.dtype} {images.shape}, but was given uint8 "
      f"{before.images.shape}: return images of that type, height, width and channels"
    )
  if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
    return (
      f"it returned labels {labels.dtype} {labels.shape}: return an int32 for each of the "
      f"{len(images)} images"
    )
  if not ((labels >= 0) & (labels < num_classes)).all():
    return f"it returned labels out of 0 to {num_classes - 1}: return classes"
  return ""


def _of_positions(before: types.TrainingSet, after: types.TrainingSet) -> str:
  present, size = after.present, len(after.labels)
  if size < len(before.labels):
    return (
      f"it returned {size} stored images of {len(before.labels)}: leave them in their "
      "places and take positions out of `present`"
    )
  if present.dtype != np.int64 or present.ndim != 1 or (np.diff(present) <= 0).any():
    return "its `present` is not int64 positions that rise: sort them, each once"
  if len(present) and (present[0] < 0 or present[-1] >= size):
    return f"its `present` has positions out of 0 to {size - 1}: return stored ones"
  old = present[present < len(before.labels)]
  back = np.setdiff1d(old, before.present)
  if len(back):
    return f"it put back position {back[0]}, which was not there: keep those that were"
  return ""


def _of_classes(before: types.TrainingSet, after: types.TrainingSet) -> str:
  lost = np.setdiff1d(before.labels[before.present], after.labels[after.present])
  if not len(lost):
    return ""
  return (
    f"it left no image of class {lost[0]}: let it remove or relabel less, or take it out "
    "of the chain"
  )


def _of_report(
  before: types.TrainingSet, after: types.TrainingSet, report: types.DefenceReport
) -> str:
  found = training_sets.difference(before, after)
  for name in ("removed", "relabelled", "changed"):
    said, true = getattr(report, name), getattr(found, name)
    if not np.array_equal(said, true):
      return (
        f"it reports {len(said)} images as {name}, and {len(true)} are, or others: report "
        "`training_sets.difference`"
      )
  return ""
