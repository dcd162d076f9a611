"""Activation clustering: the small one of two clusters of a class is removed."""

import jax
import numpy as np

from pacd_jax import types
from pacd_jax.data import training_sets
from pacd_jax.defenses.filters import removal, representation, spectrum

_NUM_DIMS = 10  # Principal components that are clustered.
_NUM_STARTS = 10  # Of k-means.
_MOST_IN_SILHOUETTE = 2000  # Images whose distances to each other are computed.


def score(
  vectors: np.ndarray, labels: np.ndarray, key: types.Key, *, size: float = 0.15
) -> np.ndarray:
  """The silhouette of the class in its small cluster, and 0 elsewhere: `[n]`.

  Each class's vectors, on their first 10 principal components, are cut into two clusters
  by k-means. Where the smaller one has less than the share `size` of the class, its images
  have the mean silhouette coefficient of the class as their score, in [-1, 1]: the nearer
  to 1, the more separate the clusters. Chen et al. (2018),
  https://arxiv.org/abs/1811.03728, who have independent components.

  Args:
    vectors: `[n, D]`.
    labels: `[n]`.
    key: key of the starts of k-means; consumed.
    size: the share under which a cluster is small, in (0, 0.5].
  """
  seed = int(jax.random.bits(key, dtype="uint32"))
  scores = np.zeros(len(labels))
  for label in np.unique(labels):
    of_class = np.flatnonzero(labels == label)
    is_small, silhouette = _clusters(vectors[of_class], seed)
    if is_small.mean() < size:
      scores[of_class[is_small]] = silhouette
  return scores


def activation_clustering(
  training_set: types.TrainingSet,
  key: types.Key,
  tools: types.Tools,
  *,
  silhouette: float = 0.3,
  size: float = 0.15,
  of: str = "features",
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Removes small clusters that are separate from the rest; a `types.DefenceFn`.

  Both conditions are needed: without them, the smaller half of every clean class would go.
  A class that is poisoned as a whole is one cluster, as a clean one is.

  Classes of the digits that no one poisoned have silhouettes of 0.18 to 0.42, and smaller
  clusters of 18 % of the class or more; a patch on a tenth of a class, taken from another,
  has 0.40 to 0.45 and 10 %. The defaults lie between these; those of published code, 0.1
  and 35 %, would remove a fifth of the clean digits 1 and 9.

  Args:
    training_set: the set to filter.
    key: consumed.
    tools: for features.
    silhouette: a cluster goes if its score is above this, in [0, 1).
    size: the share of its class under which a cluster is small, in (0, 0.5].
    of: "pixels" or "features".

  Raises:
    errors.InputError: `of` is unknown, or the model has no features.
  """
  of_training, of_clusters = jax.random.split(key)
  name = "activation_clustering"
  represent = representation.make(name, training_set, of_training, tools, of=of)
  images, labels = training_sets.to_dataset(training_set)
  scores = score(represent(images), labels, of_clusters, size=size)
  return removal.by_threshold(name, training_set, scores, silhouette, "use a smaller size")


def _clusters(vectors: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
  """Which of a class's vectors are in the smaller cluster, and the mean silhouette."""
  none = np.zeros(len(vectors), bool), 0.0
  if len(vectors) < 3 or (vectors == vectors[:1]).all():
    return none
  from sklearn import cluster, metrics  # Imported here: they cost a second.

  centred = vectors - vectors.mean(axis=0, keepdims=True)
  _, directions = spectrum.right_singular(centred, _NUM_DIMS)
  components = centred @ directions.T
  means = cluster.KMeans(2, n_init=_NUM_STARTS, random_state=seed)
  is_first = means.fit_predict(components) == 1
  is_small = is_first if 2 * is_first.sum() < len(vectors) else ~is_first
  order = np.argsort(is_small, kind="stable")  # A sample has images of both clusters.
  num = min(len(vectors), _MOST_IN_SILHOUETTE)
  sample = order[np.linspace(0, len(order) - 1, num).round().astype(int)]
  return is_small, metrics.silhouette_score(components[sample], is_small[sample])
