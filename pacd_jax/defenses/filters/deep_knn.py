"""Deep k-NN: images whose neighbours have another label are removed."""

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import training_sets
from pacd_jax.defenses.filters import neighbours, removal, representation

RULES = ("plurality", "majority")


def score(
  nearest: neighbours.Nearest,
  labels: np.ndarray,
  *,
  k: int = 50,
  rule: str = "plurality",
) -> np.ndarray:
  """The share of neighbours that speak against the own label: `[n]`; above 0, it goes.

    plurality: s_i = (max_{c != y_i} n_c - n_{y_i}) / k,  n_c of the k nearest with itself
    majority:  s_i = (sum_{c != y_i} n_c - n_{y_i}) / k,  n_c of the k nearest others

  Plurality is the rule of Peri et al. (2020), https://arxiv.org/abs/1909.13374; an image
  stays in a tie, where their code's vote goes to the lowest class. Majority is the rule of
  a second published implementation, in the code of Geiping et al. (2021),
  https://arxiv.org/abs/2009.02276.

  Args:
    nearest: of every image, its k nearest others or more; k - 1 are enough for plurality.
    labels: `[n]`.
    k: number of neighbours.
    rule: "plurality" or "majority".
  """
  others = nearest.positions[:, : k - 1 if rule == "plurality" else k]
  rows = np.broadcast_to(np.arange(len(labels))[:, None], others.shape)
  counts = np.zeros((len(labels), labels.max() + 1), np.int64)
  np.add.at(counts, (rows, labels[others]), 1)
  own = (np.arange(len(labels)), labels)
  same = counts[own] + (rule == "plurality")
  counts[own] = 0
  against = counts.max(axis=1) if rule == "plurality" else counts.sum(axis=1)
  return (against - same) / k


def deep_knn(
  training_set: types.TrainingSet,
  key: types.Key,
  tools: types.Tools,
  *,
  k: int = 50,
  rule: str = "plurality",
  of: str = "features",
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Removes images with a score above 0; a `types.DefenceFn`.

  It looks for images with the label of another class: the neighbours of a poison that has
  its own label, or of a class that is poisoned as a whole, agree with it.

  Args:
    training_set: the set to filter.
    key: consumed.
    tools: for features.
    k: number of neighbours, from 1 to the size of the smallest class.
    rule: "plurality" or "majority", as for `score`.
    of: "pixels" or "features".

  Raises:
    errors.InputError: an argument out of its range or without what it needs, or no image of
      a class would stay.
  """
  if rule not in RULES:
    raise errors.InputError(
      f"filter 'deep_knn' is to go by rule {rule!r}: use one of {', '.join(RULES)}"
    )
  neighbours.check("deep_knn", training_set, k, within_classes=True)
  represent = representation.make("deep_knn", training_set, key, tools, of=of)
  images, labels = training_sets.to_dataset(training_set)
  nearest = neighbours.find(represent(images), k)
  scores = score(nearest, labels, k=k, rule=rule)
  return removal.by_threshold("deep_knn", training_set, scores, 0.0, "use another k")
