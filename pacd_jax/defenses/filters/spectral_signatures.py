"""Spectral signatures: images far out along their class's main direction are removed."""

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import training_sets
from pacd_jax.defenses.filters import removal, representation, spectrum

_MULTIPLIER = 1.5  # Of the expected share of poison, that is removed.


def score(vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """The projection on the main direction of the own class: `[n]`.

    s_i = |<x_i - mu_a, v_a>|,  a = y_i,

  v_a the top right singular vector of the class's centred vectors. Tran, Li and Madry
  (2018), https://arxiv.org/abs/1811.00636, algorithm 1, but without its square, which
  changes no order. The authors' own code takes v_a of centred vectors, too, but scores the
  uncentred ones, by <x_i, v_a>.

  Args:
    vectors: `[n, D]`.
    labels: `[n]`.
  """
  scores = np.zeros(len(labels))
  for label in np.unique(labels):
    of_class = labels == label
    centred = vectors[of_class] - vectors[of_class].mean(axis=0, keepdims=True)
    _, directions = spectrum.right_singular(centred, 1)
    scores[of_class] = np.abs(centred @ directions[0])
  return scores


def spectral_signatures(
  training_set: types.TrainingSet,
  key: types.Key,
  tools: types.Tools,
  *,
  poisoned_share: float = 0.1,
  of: str = "features",
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Removes 1.5 times the expected share of poison of each class; a `types.DefenceFn`.

  A pattern that all images of a class share moves their mean, which is taken off: the
  filter does not see it.

  Args:
    training_set: the set to filter.
    key: consumed.
    tools: for features.
    poisoned_share: epsilon, the expected share of poison in a class, in [0, 2/3); 0.1
      removes 15 % of each class, as the authors' code and later benchmarks do.
    of: "pixels" or "features".

  Raises:
    errors.InputError: an argument out of its range, or without what it needs.
  """
  if not 0.0 <= _MULTIPLIER * poisoned_share < 1.0:
    raise errors.InputError(
      f"filter 'spectral_signatures' is to remove {_MULTIPLIER:g} times a share of "
      f"{poisoned_share:g}: use a poisoned_share of at least 0 and under 2/3"
    )
  share = _MULTIPLIER * poisoned_share
  removal.check_share("spectral_signatures", training_set, share)
  represent = representation.make("spectral_signatures", training_set, key, tools, of=of)
  images, labels = training_sets.to_dataset(training_set)
  scores = score(represent(images), labels)
  return removal.by_share("spectral_signatures", training_set, scores, share)
