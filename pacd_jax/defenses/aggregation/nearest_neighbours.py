"""RAB with k nearest neighbours: their votes under noise, exactly and without sampling."""

import numpy as np

from pacd_jax import errors
from pacd_jax.defenses.aggregation import rab

_ROUNDING = 1e-9  # What float64 may take from a probability; radii are up to 6 sigma.


def levels(dimension: int, sigma: float, num_levels: int = 200) -> np.ndarray:
  """Squared distances that divide the levels: float64 `[num_levels - 1]`, rising.

  They are evenly between those that noise reaches from an equal image and from the farthest
  one in [0, 1]^D. They depend on no image, as the certificate asks for.

  Args:
    dimension: D.
    sigma: standard deviation of the noise, above 0.
    num_levels: at least 2.
  """
  from scipy import stats  # Imported here: starts are to be quick.

  scale = sigma**2
  low = scale * stats.chi2.ppf(1e-4, dimension)
  high = scale * stats.ncx2.ppf(1.0 - 1e-4, dimension, dimension / scale)
  return np.linspace(low, high, num_levels - 1)


def probabilities(
  images: np.ndarray,
  labels: np.ndarray,
  queries: np.ndarray,
  edges: np.ndarray,
  *,
  sigma: float,
  k: int,
  num_classes: int,
) -> np.ndarray:
  """P[more than half of the k nearest noisy images have class c]: float64 `[B, K]`.

  Training images get noise e_i of N(0, sigma^2 I); a query has none. All distances
  |x - x_i - e_i|^2 / sigma^2 are independent and noncentral chi-square with D degrees of
  freedom. Neighbours are in the order of the level of this distance, and within a level of
  their positions. So P[i is at level l] is known, and image i at level l is the k-th
  nearest if k - 1 others are before it: the numbers of each kind among them have the
  coefficients of products of polynomials for probabilities.

  It takes O(n log(n) L k^2) for a class and a query. Weber et al. (2023),
  https://arxiv.org/abs/2003.08904, whose code has k = 1.

  Args:
    images: `[n, D]`.
    labels: int `[n]` in [0, K).
    queries: `[B, D]`.
    edges: `[L - 1]`, of `levels`.
    sigma: standard deviation of the noise, above 0.
    k: odd, from 1 to n.
    num_classes: K.

  Raises:
    errors.InputError: k or a label is out of its range.
  """
  from scipy import stats

  check(labels, k, num_classes)
  found = np.zeros((len(queries), num_classes))
  for row, query in zip(found, np.asarray(queries, np.float64), strict=True):
    distances = np.square(images - query[None]).sum(axis=1)
    within = stats.ncx2.cdf(
      edges[None] / sigma**2, images.shape[1], distances[:, None] / sigma**2
    )
    within = np.pad(within, ((0, 0), (1, 1)), constant_values=(0.0, 1.0))
    for label in range(num_classes):
      row[label] = _majority(within, labels == label, k)
  return found


def certify(
  images: np.ndarray,
  labels: np.ndarray,
  queries: np.ndarray,
  edges: np.ndarray,
  *,
  sigma: float,
  k: int = 1,
  num_classes: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
  """The class of queries, and RAB's radius, as of `rab.certify` but without a confidence.

  p_A is P[c has a majority], and p_B the largest one of another class with what no class
  has: exact with two classes or k = 1, and bounds otherwise. With sigma = 0, R is 0.

  Args are those of `probabilities`; labels must not change.
  """
  if sigma == 0.0:
    check(labels, k, num_classes)
    return _plain(images, labels, queries, k, num_classes), np.zeros(len(queries))
  found = probabilities(
    images, labels, queries, edges, sigma=sigma, k=k, num_classes=num_classes
  )
  label = found.argmax(axis=1)
  lower = np.maximum(_ROUNDING, found.max(axis=1) - _ROUNDING)
  others = np.where(np.arange(num_classes) == label[:, None], 0.0, found).max(axis=1)
  nobodys = np.maximum(0.0, 1.0 - found.sum(axis=1))
  upper = np.minimum(others + nobodys, 1.0 - 2.0 * _ROUNDING) + _ROUNDING
  return rab.from_bounds(label, lower, upper, sigma)


def _majority(within: np.ndarray, is_own: np.ndarray, k: int) -> float:
  """P[more than half of the k nearest are marked], from P[level <= l] `[n, L + 1]`."""
  there = np.diff(within, axis=1)
  own = _before(within * is_own[:, None], k)
  others = _before(within * ~is_own[:, None], k)
  total = 0.0
  for count in range(k):  # Marked ones before the k-th.
    wins = count + is_own > k / 2
    both = own[count] * others[k - 1 - count]
    total += (there * both * wins[:, None]).sum()
  return float(total)


def _before(within: np.ndarray, k: int) -> np.ndarray:
  """P[s images other than i are before i at level l], s < k: `[k, n, L]`.

  Those at lower positions are if their level is at most l, the others if it is under l.
  """
  first = np.zeros((k, 1, within.shape[1] - 1))
  first[0] = 1.0
  ahead = np.concatenate([first, _products(within[:-1, 1:], k)], axis=1)
  behind = np.concatenate([first, _products(within[:0:-1, :-1], k)], axis=1)[:, ::-1]
  return _times(ahead, behind)


def _products(chances: np.ndarray, k: int) -> np.ndarray:
  """P[s successes in the first 1, ..., n trials], s < k: `[n, L]` -> `[k, n, L]`."""
  found = np.zeros((k, *chances.shape))
  found[0] = 1.0 - chances
  if k > 1:
    found[1] = chances
  step = 1
  while step < chances.shape[0]:
    found[:, step:] = _times(found[:, step:], found[:, :-step])
    step *= 2
  return found


def _times(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """The product of polynomials, coefficients first, without powers of k or more."""
  product = np.zeros_like(first)
  for power in range(len(first)):
    product[power:] += first[power] * second[: len(first) - power]
  return product


def _plain(images, labels, queries, k: int, num_classes: int) -> np.ndarray:
  """The majority of the k nearest, -1 where there is none: `[B]`."""
  found = []
  for query in queries:
    nearest = np.square(images - query[None]).sum(axis=1).argsort(kind="stable")[:k]
    counts = np.bincount(labels[nearest], minlength=num_classes)
    found.append(counts.argmax() if 2 * counts.max() > k else -1)
  return np.array(found, np.int64)


def check(labels: np.ndarray, k: int, num_classes: int) -> None:
  """Raises `errors.InputError` if k or a label is out of its range."""
  count = len(labels)
  if not (1 <= k <= count and k % 2):
    raise errors.InputError(
      f"k = {k} of {count} neighbours cannot vote: use an odd k from 1 to {count}"
    )
  if np.max(labels) >= num_classes:
    raise errors.InputError(
      f"labels go up to {np.max(labels)}, but there are to be {num_classes} classes: give "
      "their number"
    )
