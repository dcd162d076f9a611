"""Every detector in turn over a training set: which classes and images are suspicious."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import arrays
from pacd_jax.defenses.filters import (
  activation_clustering,
  centroids,
  deep_knn,
  knn,
  l2,
  loss,
  neighbours,
  representation,
  slab,
  spectral_signatures,
  svd,
)
from pacd_jax.defenses.trusted import images, two_sample, unshift

_MOST_NEIGHBOURS = 50  # Of deep k-NN; fewer where a class is smaller.
_TOP = 0.05  # The share of all images that a detector holds to be the most suspicious.


class ClassFinding(NamedTuple):
  """What is known of one class."""

  label: int
  num_images: int
  # Corrected by Holm for the number of classes; None without trusted images.
  p_value: float | None
  tests: two_sample.Tests | None
  # float64 `[H, W, C]`, image units: what the class has more than its trusted images.
  shift: np.ndarray | None
  # By detector: the share of the class that is among the highest 5 % of all scores, or has
  # a score equal to one of them.
  top_share: Mapping[str, float]


class Findings(NamedTuple):
  """What an audit found."""

  classes: list[ClassFinding]  # The most suspicious first.
  suspicion: np.ndarray  # `[n]`, in [0, 1]: mean over detectors of an image's rank.
  scores: Mapping[str, np.ndarray]  # By detector, `[n]`.
  failed: Mapping[str, str]  # By detector that these data do not suit: why.
  num_copies: int  # Trusted images that are in the training set, and were left out.


def audit(
  training_set: types.TrainingSet,
  trusted: types.Dataset | None,
  key: types.Key,
  tools: types.Tools,
  *,
  level: float = 0.05,
  progress: Callable[[str], None] = lambda step: None,
) -> Findings:
  """Runs the two-sample tests, if there are trusted images, and then every filter's score.

  A score compares an image with the others; ranks of single images do not show a change
  that a whole class shares, which the tests are for.

  Args:
    training_set: the set; all of its images are present.
    trusted: images with true labels that nobody can have changed; None: there are none.
    key: consumed.
    tools: `train` makes the model whose loss and features are looked at.
    level: of the tests' alarms.
    progress: called with the name of each step, before it.

  Raises:
    errors.InputError: trusted images cannot be used, or a class is too small.
  """
  of_tests, of_model, of_clusters = jax.random.split(key, 3)
  tested: dict[int, tuple[float, two_sample.Tests, np.ndarray]] = {}
  num_copies = 0
  if trusted is not None:
    progress("two_sample")
    tested, num_copies = _tested(training_set, trusted, of_tests, level)
  scores, failed = _scores(training_set, tools, of_model, of_clusters, progress)
  ranks = {name: _ranks(score, "average") for name, score in scores.items()}
  ends = {name: _ranks(score, "max") for name, score in scores.items()}
  classes = []
  for label, count in enumerate(np.bincount(training_set.labels)):
    if not count:
      continue
    p_value, tests, shift = tested.get(label, (None, None, None))
    of_class = training_set.labels == label
    top = {name: float((rank[of_class] > 1 - _TOP).mean()) for name, rank in ends.items()}
    classes.append(ClassFinding(label, int(count), p_value, tests, shift, top))
  classes.sort(key=_order)
  suspicion = np.mean([*ranks.values()], axis=0)
  return Findings(classes, suspicion, scores, failed, num_copies)


def _order(finding: ClassFinding) -> tuple[float, float]:
  return (
    finding.p_value if finding.p_value is not None else 1.0,
    -float(np.mean([*finding.top_share.values()])),
  )


def _tested(
  training_set: types.TrainingSet,
  trusted: types.Dataset,
  key: types.Key,
  level: float,
) -> tuple[dict[int, tuple[float, two_sample.Tests, np.ndarray]], int]:
  draw, test = jax.random.split(key)
  classes = images.by_class(training_set, trusted, 0, draw)
  tests = two_sample.of_classes(classes, test, level=level)
  corrected = two_sample.holm([each.both for each in tests])
  shape = training_set.images.shape[1:]
  found = {}
  for place, label in enumerate(classes.labels):
    shift = unshift.shared_change(classes.training[place], classes.trusted[place])
    found[label] = corrected[place], tests[place], shift.reshape(shape)
  return found, classes.num_copies


def _scores(
  training_set: types.TrainingSet,
  tools: types.Tools,
  of_model: types.Key,
  of_clusters: types.Key,
  progress: Callable[[str], None],
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  """The score of every filter: l2, slab and svd of pixels, the others of a model.

  Returns:
    By detector its scores, or why there are none.
  """
  stored, labels = training_set.images, training_set.labels
  if tools.model.features is None:
    raise errors.InputError("the audit's model shows no features: give another network")
  progress("model")
  params = tools.train(training_set, of_model)
  logits = representation.in_batches(tools.model.apply, params, stored)
  features = representation.in_batches(tools.model.features, params, stored)
  pixels = arrays.to_float(stored).reshape(len(stored), -1)
  means = centroids.means(pixels, labels, tools.num_classes)
  smallest = int(np.unique(labels, return_counts=True)[1].min())
  k = max(1, min(_MOST_NEIGHBOURS, smallest - 1))
  progress("neighbours")
  nearest = neighbours.find(features, k)
  found, failed = {}, {}
  for name, score in {
    "l2": lambda: l2.score(pixels, labels, means),
    "slab": lambda: slab.score(pixels, labels, means),
    "svd": lambda: svd.score(pixels, labels, means),
    "loss": lambda: loss.score(logits, labels),
    "knn": lambda: knn.score(nearest, min(5, k)),
    "deep_knn": lambda: deep_knn.score(nearest, labels, k=k),
    "spectral_signatures": lambda: spectral_signatures.score(features, labels),
    "activation_clustering": lambda: activation_clustering.score(
      features, labels, of_clusters
    ),
  }.items():
    progress(name)
    try:
      found[name] = score()
    except errors.InputError as error:  # The others may do.
      failed[name] = str(error)
  return found, failed


def _ranks(scores: np.ndarray, of_equal: str) -> np.ndarray:
  """Ranks in (0, 1], 1 the highest score; equal scores have their average, or largest."""
  from scipy import stats  # Imported here: it costs a second.

  return stats.rankdata(scores, method=of_equal) / len(scores)
