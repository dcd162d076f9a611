"""How much of a training set a poison changes, in the unit of each certificate."""

import numpy as np

from pacd_jax import types
from pacd_jax.data import training_sets


def replaced(before: types.TrainingSet, after: types.TrainingSet) -> int:
  """Positions whose image or label is another one, or that are new or gone."""
  found = training_sets.difference(before, after)
  altered = len(np.union1d(found.changed, found.relabelled))
  return altered + len(found.removed) + _inserted(before, after, found)


def removed_or_inserted(before: types.TrainingSet, after: types.TrainingSet) -> int:
  """Images gone and images new: a changed image is both, a flipped label one change."""
  found = training_sets.difference(before, after)
  labels_alone = len(np.setdiff1d(found.relabelled, found.changed))
  moved = 2 * len(found.changed) + labels_alone + len(found.removed)
  return moved + _inserted(before, after, found)


def flipped(before: types.TrainingSet, after: types.TrainingSet) -> float:
  """Labels that are other ones; infinite if an image is, too."""
  found = training_sets.difference(before, after)
  others = len(found.changed) + len(found.removed) + _inserted(before, after, found)
  return float("inf") if others else len(found.relabelled)


def norm(before: types.TrainingSet, after: types.TrainingSet) -> float:
  """The l2 norm of all changes of images together, image units; infinite for others."""
  found = training_sets.difference(before, after)
  others = len(found.relabelled) + len(found.removed) + _inserted(before, after, found)
  if others:
    return float("inf")
  new, old = (each.images[found.changed].astype(np.float64) for each in (after, before))
  return float(np.sqrt(((new - old) ** 2).sum()) / 255.0)


def _inserted(before, after, found) -> int:
  return len(after.present) - (len(before.present) - len(found.removed))
