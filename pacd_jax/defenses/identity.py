"""The identity: no defence, the reference for the others."""

from pacd_jax import types
from pacd_jax.data import training_sets


def identity(
  training_set: types.TrainingSet, key: types.Key, tools: types.Tools
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Returns the training set unchanged; a `types.DefenceFn`."""
  del key, tools
  return training_set, training_sets.difference(training_set, training_set)
