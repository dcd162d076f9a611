"""A random share of every class: what an uninformed filter would keep."""

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import training_sets


def random_share(
  training_set: types.TrainingSet,
  key: types.Key,
  tools: types.Tools,
  *,
  share: float,
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Keeps max(1, round(share n)) of the n images of every class; a `types.DefenceFn`.

  For one key, the images of a smaller share are a subset of those of a larger share.

  Args:
    training_set: the set to filter.
    key: consumed.
    tools: not used.
    share: the share to keep, in (0, 1].

  Raises:
    errors.InputError: the share is not in (0, 1].
  """
  del tools
  if not 0.0 < share <= 1.0:
    raise errors.InputError(f"a share of {share} cannot be kept: use one in (0, 1]")
  present = training_set.present
  labels = training_set.labels[present]
  draws = np.asarray(jax.random.uniform(key, training_set.labels.shape, np.float32))[
    present
  ]
  kept = []
  for label in np.unique(labels):
    of_class = np.flatnonzero(labels == label)
    order = of_class[np.argsort(draws[of_class], kind="stable")]
    kept.append(present[order[: max(1, round(share * len(order)))]])
  after = training_sets.keep(training_set, np.concatenate(kept))
  return after, training_sets.difference(training_set, after)
