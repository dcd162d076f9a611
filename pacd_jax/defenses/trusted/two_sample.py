"""Two-sample tests of every class of a training set against a few trusted images.

Under the null hypothesis the trusted and the training images of a class are exchangeable.
A poison that moves a whole class breaks that, whatever filters of single images see.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import training_sets
from pacd_jax.defenses.trusted import covariance, images

_AT_ONCE = 256  # Permutations in one product.
_MOST = 1000  # Training images of a class that are compared: trusted ones are far fewer.


class Tests(NamedTuple):
  """The p-values of one class, in (0, 1]."""

  mean_shift: float
  classifier: float

  @property
  def both(self) -> float:
    """The smaller one, by Bonferroni's correction for two tests."""
    return min(1.0, 2 * min(self))


def two_sample(
  training_set: types.TrainingSet,
  key: types.Key,
  tools: types.Tools,
  *,
  level: float = 0.05,
  num_trusted: int = 50,
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Tests every class and changes nothing; a `types.DefenceFn`.

  The report's values are `p_value_<class>`, corrected by Holm for the number of classes,
  `alarms`, the number of classes below the level, and `copies`, the number of trusted
  images that were left out since the training set has them, too.

  Args:
    training_set: the set to test.
    key: consumed.
    tools: its validation images are the trusted ones.
    level: probability of any alarm on clean data, in (0, 1).
    num_trusted: trusted images of each class; 0: all.

  Raises:
    errors.InputError: the level is not in (0, 1), or `images.by_class` raises it.
  """
  draw, test = jax.random.split(key)
  classes = images.by_class(training_set, tools.validation, num_trusted, draw)
  corrected = holm([each.both for each in of_classes(classes, test, level=level)])
  values = {
    f"p_value_{label}": p for label, p in zip(classes.labels, corrected, strict=True)
  }
  values["copies"] = float(classes.num_copies)
  values["alarms"] = float(sum(p <= level for p in corrected))
  return training_set, training_sets.difference(training_set, training_set, values)


def of_classes(
  classes: images.Classes, key: types.Key, *, level: float = 0.05
) -> list[Tests]:
  """The p-values of every class; `level` sets how many permutations they need.

  Of a class with more than 1,000 training images, as many are drawn.

  Args:
    classes: training and trusted images.
    key: consumed.
    level: the level that corrected p-values will be held against, in (0, 1).
  """
  if not 0.0 < level < 1.0:
    raise errors.InputError(f"a level of {level} is no probability: use one in (0, 1)")
  # The least p-value, corrected for both tests and all classes, is a fifth of the level.
  num_permutations = math.ceil(10 * len(classes.labels) / level)
  found = []
  for place, (ours, theirs) in enumerate(
    zip(classes.training, classes.trusted, strict=True)
  ):
    seed = int(jax.random.bits(jax.random.fold_in(key, place), dtype=np.uint32))
    generator = np.random.default_rng(seed)
    if len(ours) > _MOST:
      ours = ours[generator.choice(len(ours), _MOST, replace=False)]
    shift = mean_shift(ours, theirs, generator, num_permutations)
    found.append(Tests(shift, classifier(ours, theirs, generator)))
  return found


def mean_shift(
  ours: np.ndarray,
  theirs: np.ndarray,
  generator: np.random.Generator,
  num_permutations: int,
) -> float:
  """The permutation test of a difference in means: exact at any sample size.

  The statistic is Hotelling's T^2, d' S^-1 d up to a constant, where d is the difference of
  the means and S the covariance of both samples about their common mean, which Ledoit and
  Wolf (2004) shrink, so that more pixels than images are no trouble. S is the same for
  every permutation. p = (1 + #{permuted >= observed}) / (1 + number of permutations).

  Args:
    ours: float `[n, D]`.
    theirs: float `[m, D]`.
    generator: draws the permutations.
    num_permutations: number of them; 1 / (1 + it) is the least p-value.
  """
  both = _whitened(np.concatenate([ours, theirs]))
  size, few = len(both), min(len(ours), len(theirs))
  # About the common mean, the means of the two parts are -few / (size - few) of each other:
  # the length of one of them tells the length of the difference.
  first = both[: len(ours)] if len(ours) == few else both[len(ours) :]
  observed = np.linalg.norm(first.sum(axis=0))
  reached = 0
  for start in range(0, num_permutations, _AT_ONCE):
    number = min(_AT_ONCE, num_permutations - start)
    drawn = np.zeros((number, size), np.float32)
    for row in drawn:
      row[generator.choice(size, few, replace=False)] = 1.0
    lengths = np.linalg.norm(drawn @ both, axis=1)
    reached += int((lengths >= observed * (1 - 1e-5)).sum())  # Ties, in float32, count.
  return (1 + reached) / (1 + num_permutations)


def _whitened(both: np.ndarray) -> np.ndarray:
  """Centred images `[N, D]` times S^-1/2, but for a rotation: `[N, min(N, D)]`.

  S = a X'X + c I is diagonal in the singular vectors of X.
  """
  centred = (both - both.mean(axis=0)).astype(np.float64)
  size, num_pixels = centred.shape
  share, isotropic = covariance.shrunk(centred)
  if size <= num_pixels:
    squares, left = np.linalg.eigh(centred @ centred.T)
    squares = np.maximum(squares, 0.0)
    projected = left * np.sqrt(squares)
  else:
    squares, right = np.linalg.eigh(centred.T @ centred)
    squares = np.maximum(squares, 0.0)
    projected = centred @ right
  variances = share * squares + isotropic
  # Images that are all the same have no variance, and no difference in means.
  return (projected / np.sqrt(np.maximum(variances, 1e-30))).astype(np.float32)


def classifier(
  ours: np.ndarray, theirs: np.ndarray, generator: np.random.Generator
) -> float:
  """The classifier two-sample test of Lopez-Paz and Oquab (2017, arXiv 1610.06545).

  Half of either sample trains extremely randomised trees (Geurts et al., 2006) to tell
  them apart; the other halves are told apart better than by chance if the samples differ,
  also where their means agree. The samples differ in size, so the score is not accuracy but
  the rank of the held-out trusted images, by the one-sided test of Mann and Whitney.

  Args:
    ours: float `[n, D]`.
    theirs: float `[m, D]`.
    generator: draws the halves and the trees.

  Returns:
    The p-value; 1 if a sample has fewer than two images.
  """
  from scipy import stats  # Imported here: both cost a second.
  from sklearn import ensemble

  halves = []
  for sample in (ours, theirs):
    if len(sample) < 2:
      return 1.0
    drawn = sample[generator.permutation(len(sample))]
    halves.append((drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]))
  (ours_first, ours_last), (theirs_first, theirs_last) = halves
  trees = ensemble.ExtraTreesClassifier(
    class_weight="balanced",
    min_samples_leaf=2 if len(theirs_first) >= 10 else 1,
    random_state=int(generator.integers(2**31)),
  )
  is_theirs = np.repeat([0, 1], [len(ours_first), len(theirs_first)])
  trees.fit(np.concatenate([ours_first, theirs_first]), is_theirs)
  score = [trees.predict_proba(sample)[:, 1] for sample in (theirs_last, ours_last)]
  return float(stats.mannwhitneyu(*score, alternative="greater").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
  """Corrects p-values for their number by Holm's procedure (1979).

  The chance that any is at most `level` where every null hypothesis holds is at most the
  level, whatever their dependence.
  """
  order = np.argsort(p_values, kind="stable")
  factors = len(p_values) - np.arange(len(p_values))
  rising = np.maximum.accumulate(factors * np.asarray(p_values)[order])
  corrected = np.empty(len(p_values))
  corrected[order] = np.minimum(1.0, rising)
  return corrected.tolist()
