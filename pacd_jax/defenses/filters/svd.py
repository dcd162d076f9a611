"""The SVD filter: images far from the data's low-rank part are removed."""

import functools

import numpy as np

from pacd_jax import errors, types
from pacd_jax.defenses.filters import centroids as class_centroids
from pacd_jax.defenses.filters import spectrum

_BLOCK = 4096  # Images at a time.


def score(
  vectors: np.ndarray, labels: np.ndarray, means: np.ndarray, *, explained: float = 0.95
) -> np.ndarray:
  """The distance to the subspace of the first singular vectors and the centroids: `[n]`.

    s_i = |(I - P) x_i|,  P onto span(v_1, ..., v_r, mu_1, ..., mu_K),
    r the smallest rank with sum_{j <= r} s_j^2 >= 0.95 sum_j s_j^2

  of the singular values of all vectors, which are not centred. The SVD defence of Koh,
  Steinhardt and Liang (2022), https://arxiv.org/abs/1811.00741.

  Args:
    vectors: `[n, D]`.
    labels: `[n]`.
    means: centroids, `[K, D]`; those of classes in `labels` are used.
    explained: share of the squared spectrum, in (0, 1).
  """
  from scipy import linalg

  squared, right = spectrum.right_singular(vectors)
  rank = 1 + np.searchsorted(np.cumsum(squared), explained * squared.sum())
  spanning = np.concatenate([right[:rank], means[np.unique(labels)]])
  basis = linalg.orth(spanning.T, rcond=1e-7)
  scores = np.zeros(len(labels))
  for start in range(0, len(vectors), _BLOCK):
    block = vectors[start : start + _BLOCK].astype(np.float64)
    outside = block - (block @ basis) @ basis.T
    scores[start : start + _BLOCK] = np.linalg.norm(outside, axis=1)
  return scores


def svd(
  training_set: types.TrainingSet,
  key: types.Key,
  tools: types.Tools,
  *,
  share: float = 0.05,
  explained: float = 0.95,
  of: str = "pixels",
  centroids: str = "data",
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Removes the share of each class that has the highest score; a `types.DefenceFn`.

  A pattern that many images share is a singular vector: the filter does not see it.

  Args:
    training_set: the set to filter.
    key: consumed.
    tools: for features, and for trusted images.
    share: of every class, that is removed, in [0, 1).
    explained: share of the squared spectrum that the subspace has, in (0, 1).
    of: "pixels" or "features".
    centroids: of the "data", or of "trusted" validation images: an oracle.

  Raises:
    errors.InputError: an argument out of its range, or without what it needs.
  """
  if not 0.0 < explained < 1.0:
    raise errors.InputError(
      f"filter 'svd' is to keep a share of {explained:g} of the spectrum: use one in (0, 1)"
    )
  return class_centroids.remove(
    "svd",
    functools.partial(score, explained=explained),
    training_set,
    key,
    tools,
    share=share,
    of=of,
    centroids=centroids,
  )
