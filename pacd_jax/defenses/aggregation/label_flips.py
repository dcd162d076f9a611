"""Label flips: least squares on fixed features, smoothed over the training labels."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pacd_jax import errors
from pacd_jax.defenses.aggregation import chernoff

_NEGLIGIBLE = 1e-30  # Probabilities that are dropped.


class Certificates(NamedTuple):
  """The certificates of B queries; the unit is changed labels of training images."""

  prediction: np.ndarray  # int64 `[B]`; -1: abstained.
  radius: np.ndarray  # int64 `[B]`: that many changed labels cannot move it; 0: abstained.
  kl_radius: np.ndarray  # float64 `[B]`: the paper's radius, of which the floor counts.
  log_wrong: np.ndarray  # float64 `[B]`: the bound's log P[another class], at most 0.


def weights(features: np.ndarray, queries: np.ndarray, ridge: float) -> np.ndarray:
  """The weight of each training label in the scores of each query.

    alpha(x) = X (X'X + lambda I)^-1 x;  the score of class c is sum_i alpha_i [y_i = c]

  Args:
    features: X, `[n, D]`, that no label had an influence on.
    queries: `[B, D]`.
    ridge: lambda, above 0.

  Returns:
    float64 `[B, n]`.

  Raises:
    errors.InputError: the ridge is not above 0.
  """
  from scipy import linalg  # Imported here: starts are to be quick.

  if not ridge > 0.0:
    raise errors.InputError(f"a ridge of {ridge:g} cannot be solved: use one above 0")
  features = np.asarray(features, np.float64)
  gram = features.T @ features + ridge * np.eye(features.shape[1])
  solved = linalg.solve(gram, np.asarray(queries, np.float64).T, assume_a="pos")
  return (features @ solved).T


def likely_class(
  alpha: np.ndarray, labels: np.ndarray, q: float, num_classes: int
) -> tuple[int, float]:
  """The class of the largest score, and a bound of how seldom it is under noisy labels.

  A label stays with probability 1 - q, and turns into each other one with q / (K - 1). By
  Chernoff's bound and the union over the K - 1 other classes,

    P[another class] <= sum_k min_{t > 0} prod_i E exp(-t alpha_i ([y_i = c] - [y_i = k]))

  with the exact alpha, so that nothing is sampled. A tie of scores counts as another class.

  Args:
    alpha: the weights of one query, `[n]`.
    labels: int `[n]` in [0, K).
    q: probability that a label is changed, in (0, 1/2).
    num_classes: K.

  Returns:
    c, and the logarithm of the bound, at most 0.
  """
  label = int(np.bincount(labels, alpha, minlength=num_classes).argmax())
  turned = q / (num_classes - 1)
  is_label = np.where(labels == label, 1.0 - q, turned)
  bounds = [
    chernoff.log_tail(alpha, is_label, np.where(labels == other, 1.0 - q, turned))
    for other in range(num_classes)
    if other != label
  ]
  return label, min(0.0, float(np.logaddexp.reduce(bounds)))


def kl_radius(p, q: float, num_classes: int = 2) -> np.ndarray:
  """The radius in changed labels from P[c] >= p, by the Kullback-Leibler divergence.

    r <= -log(4 p (1 - p)) / (2 d),  d = (1 - q - q / (K - 1)) log((1 - q) (K - 1) / q)

  With K = 2, d = (1 - 2 q) log((1 - q) / q). Rosenfeld et al. (2020),
  https://arxiv.org/abs/2002.03018.

  Args:
    p: a lower bound of the probability of the class, in [0, 1), any shape.
    q: probability that a label is changed, in (0, 1/2).
    num_classes: K.

  Returns:
    float64 like p; 0 where p is at most 1/2.

  Raises:
    errors.InputError: q is out of its range.
  """
  return _kl_radius(np.log1p(-np.asarray(p, np.float64)), q, num_classes)


def neyman_pearson_radius(p, q: float, num_classes: int = 2) -> np.ndarray:
  """The exact radius in changed labels from P[c] >= p: no other bound of p is larger.

  Of all classifiers with P[c] = p, the worst one for r changed labels says c where the
  likelihood ratio is smallest: it depends on S, how many more of the r labels are the new
  ones than the old ones. r counts if c keeps more than half of the probability,

    1 - p < P[S > s] + rest,  s and the rest such that they have 1/2 where labels changed

  Args are those of `kl_radius`.

  Returns:
    int64 like p; 0 where p is at most 1/2.

  Raises:
    errors.InputError: q is out of its range.
  """
  return _exact_radius(np.log1p(-np.asarray(p, np.float64)), q, num_classes)


def certify(
  features: np.ndarray,
  labels: np.ndarray,
  queries: np.ndarray,
  q: float,
  ridge: float,
  num_classes: int = 2,
) -> Certificates:
  """Certificates of queries against changed labels of training images.

  The classifier is least squares of one class against the rest on fixed features, smoothed
  over labels that are changed with probability q. Rosenfeld et al. (2020),
  https://arxiv.org/abs/2002.03018, with the exact radius beside theirs. Nothing is
  sampled: the certificate is not one of a confidence.

  With K > 2, P[another class] is bounded by the union over the K - 1 comparisons of scores.
  A label that is changed to whatever else is one change.

  Args:
    features: `[n, D]`, that no label had an influence on; a column of ones for an offset.
    labels: int `[n]` in [0, K).
    queries: `[B, D]`.
    q: probability that a label is changed, in (0, 1/2).
    ridge: lambda, above 0.
    num_classes: K.

  Raises:
    errors.InputError: q, the ridge or a label is out of its range.
  """
  _check(q)
  if np.max(labels) >= num_classes:
    raise errors.InputError(
      f"labels go up to {np.max(labels)}, but there are to be {num_classes} classes: give "
      "their number"
    )
  columns = weights(features, np.eye(features.shape[1]), ridge)  # alpha is linear in x.
  found = [likely_class(x @ columns, labels, q, num_classes) for x in queries]
  prediction = np.array([label for label, _ in found], np.int64)
  logs = np.array([log for _, log in found], np.float64)
  radius = _exact_radius(logs, q, num_classes, most=len(labels))
  prediction[logs >= np.log(0.5)] = -1
  return Certificates(prediction, radius, _kl_radius(logs, q, num_classes), logs)


def _kl_radius(log_wrong: np.ndarray, q: float, num_classes: int) -> np.ndarray:
  _check(q)
  log_wrong = np.minimum(log_wrong, np.log(0.5))  # A radius of 0 from there on.
  turned = q / (num_classes - 1)
  divergence = (1.0 - q - turned) * np.log((1.0 - q) / turned)
  logs = np.log(4.0) + log_wrong + np.log1p(-np.exp(log_wrong))
  return np.maximum(0.0, -logs / (2.0 * divergence)) + 0.0  # Not -0.


def _exact_radius(
  log_wrong: np.ndarray, q: float, num_classes: int, most: int | None = None
) -> np.ndarray:
  """The largest r, at most `most`, at which log_wrong is below the threshold of r."""
  _check(q)
  least = np.min(log_wrong, initial=0.0)
  if most is None and not np.isfinite(least):
    raise ValueError("a class of probability 1 has no largest radius")
  thresholds = []  # Falling.
  for threshold in _thresholds(q, num_classes):
    if len(thresholds) == most or threshold <= least:
      break
    thresholds.append(threshold)
  counts = np.searchsorted(-np.array(thresholds), -np.asarray(log_wrong), side="left")
  return np.asarray(counts, np.int64)[()]


def _thresholds(q: float, num_classes: int) -> Iterator[float]:
  """For r = 1, 2, ...: log of the P[another class] from which r changes are too many."""
  turned = q / (num_classes - 1)
  step = np.array([turned, max(0.0, q - turned), 1.0 - q])
  log_ratio = np.log(turned / (1.0 - q))  # The likelihood ratio is this to the power of S.
  changed, first = np.ones(1), 0  # P[S = first + j] where the labels are changed.
  while True:
    changed, first = np.convolve(changed, step), first - 1
    kept = np.flatnonzero(changed > _NEGLIGIBLE)
    changed, first = changed[kept[0] : kept[-1] + 1], int(first + kept[0])
    above = np.cumsum(changed[::-1])[::-1]  # P[S >= s]
    place = int(np.flatnonzero(above >= 0.5)[-1])
    shares = changed[place:].copy()
    shares[0] -= above[place] - 0.5
    powers = first + np.arange(place, len(changed))
    with np.errstate(divide="ignore"):
      yield float(np.logaddexp.reduce(np.log(shares) + log_ratio * powers))


def _check(q: float) -> None:
  if not 0.0 < q < 0.5:
    raise errors.InputError(
      f"labels cannot be changed with probability {q:g}: use one above 0 and below 1/2"
    )
