"""The loss filter: images that a model trained on all of them fits worst are removed."""

import numpy as np

from pacd_jax import types
from pacd_jax.data import training_sets
from pacd_jax.defenses.filters import removal, representation


def score(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """The cross-entropy of each image: `[n]`, in float64.

    s_i = log(1 + exp(m_i)),  m_i = log sum_{c != y_i} exp(z_ic - z_{i, y_i})

  so written that images with losses of 1e-40 are told apart, too.

  Args:
    logits: `[n, K]`, of two classes or more.
    labels: `[n]`.
  """
  own = np.take_along_axis(logits, labels[:, None], axis=1).astype(np.float64)
  margins = logits - own
  np.put_along_axis(margins, labels[:, None], -np.inf, axis=1)
  return np.logaddexp(0.0, np.logaddexp.reduce(margins, axis=1))


def loss(
  training_set: types.TrainingSet,
  key: types.Key,
  tools: types.Tools,
  *,
  share: float = 0.05,
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Removes the share of each class that has the highest loss; a `types.DefenceFn`.

  The loss defence of Koh, Steinhardt and Liang (2022), https://arxiv.org/abs/1811.00741,
  with the cross-entropy of one victim, trained on all the data as victims are, on images
  without noise. The paper's is a hinge loss without its maximum, so that images that are
  fitted well are told apart; those of a cross-entropy are. Hard clean images go first.

  Args:
    training_set: the set to filter.
    key: key of the training; consumed.
    tools: for the model and its training.
    share: of every class, that is removed, in [0, 1).

  Raises:
    errors.InputError: the share is out of its range, or would empty a class.
  """
  removal.check_share("loss", training_set, share)
  images, labels = training_sets.to_dataset(training_set)
  params = tools.train(training_set, key)
  logits = representation.in_batches(tools.model.apply, params, images)
  return removal.by_share("loss", training_set, score(logits, labels), share)
