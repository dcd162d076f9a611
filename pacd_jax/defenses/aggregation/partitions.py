"""Which part of a training set an image belongs to, and which images a model is given."""

import hashlib
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pacd_jax import errors, types
from pacd_jax.defenses.aggregation import changes


class Partition(NamedTuple):
  """A way to cut a training set into parts, so that a change of it reaches few of them."""

  name: str
  unit: str  # What changes one part: the unit of the certified radius.
  assign: Callable[[types.TrainingSet, int], np.ndarray]  # As `by_content`.
  # Whether images are known by their positions; otherwise by what they show.
  positional: bool
  words: str
  # How much of a set another one changes, in the unit: `changes`.
  size: Callable[[types.TrainingSet, types.TrainingSet], float]


class Members(NamedTuple):
  """The images of M models."""

  # int32 `[M, most]`, into the stored images of the training set; padded with 0.
  positions: np.ndarray
  sizes: np.ndarray  # int32 `[M]`; 0: a model without an image.


def by_content(training_set: types.TrainingSet, num_parts: int) -> np.ndarray:
  """SHA-256 of an image's bytes, modulo the number of parts: int64 `[n]`.

  A removed or inserted image changes one part, a replaced one up to two; the order of the
  images changes nothing. The label is not part of the hash: a flipped one changes one part.
  Levine and Feizi (2021), https://arxiv.org/abs/2006.14768, have the sum of the pixels for
  the hash.

  Args:
    training_set: the set to cut.
    num_parts: from 1 to the number of images.

  Returns:
    The part of each image that is present, in [0, num_parts), in order.

  Raises:
    errors.InputError: num_parts is out of its range.
  """
  _check(training_set, num_parts)
  digests = [hashlib.sha256(image).digest() for image in _contents(training_set)]
  return np.array([int.from_bytes(digest) % num_parts for digest in digests], np.int64)


def by_position(training_set: types.TrainingSet, num_parts: int) -> np.ndarray:
  """An image's position modulo the number of parts; otherwise as `by_content`.

  A replaced image changes one part. This holds only where nothing can be inserted, removed
  or reordered, as for the attack of the paper.
  """
  _check(training_set, num_parts)
  return training_set.present.astype(np.int64) % num_parts


def by_rank(training_set: types.TrainingSet, num_parts: int) -> np.ndarray:
  """An image's rank by its bytes, modulo the number of parts; otherwise as `by_content`.

  A flipped label changes one part; images must not change. Parts have equal sizes. This is
  SS-DPA's partition (Levine and Feizi, 2021).

  Raises:
    errors.InputError: an image is there twice, or num_parts is out of its range.
  """
  _check(training_set, num_parts)
  contents = _contents(training_set)
  order = sorted(range(len(contents)), key=contents.__getitem__)
  for first, second in itertools.pairwise(order):
    if contents[first] == contents[second]:
      twice = training_set.present[[first, second]]
      raise errors.InputError(
        f"images {twice.min()} and {twice.max()} of the training set are equal, which a "
        "partition by rank cannot tell apart: remove duplicates, or cut it by content"
      )
  ranks = np.empty(len(order), np.int64)
  ranks[order] = np.arange(len(order))
  return ranks % num_parts


PARTITIONS = {
  partition.name: partition
  for partition in (
    Partition(
      "content",
      "removed or inserted images",
      by_content,
      positional=False,
      words="by a hash of the image",
      size=changes.removed_or_inserted,
    ),
    Partition(
      "position",
      "replaced images",
      by_position,
      positional=True,
      words="by position",
      size=changes.replaced,
    ),
    Partition(
      "rank",
      "flipped labels",
      by_rank,
      positional=False,
      words="by the rank of the image among all",
      size=changes.flipped,
    ),
  )
}


def offsets(num_models: int, spread: int, seed: int = 0) -> tuple[int, ...]:
  """The models of a part, by their distance from it: rising, and always with 0.

  Args:
    num_models: M.
    spread: d, how many models a part goes to, from 1 to M.
    seed: of the d - 1 offsets that are drawn from [1, M).

  Raises:
    errors.InputError: spread is out of its range.
  """
  if not 1 <= spread <= num_models:
    raise errors.InputError(
      f"a part cannot go to {spread} of {num_models} models: use a spread from 1 to "
      f"{num_models}"
    )
  others = 1 + np.random.default_rng(seed).permutation(num_models - 1)[: spread - 1]
  return (0, *sorted(others.tolist()))


def members(
  training_set: types.TrainingSet,
  parts: np.ndarray,
  num_parts: int,
  *,
  spread: int = 1,
  seed: int = 0,
  positional: bool = False,
) -> Members:
  """The images of every model: part h goes to the models (h + s) mod M, s of `offsets`.

  There are as many models as parts: with spread 1, model i has part i. Finite aggregation
  has k d parts, and d models for each.

  A model's images are in an order of their own, which a change of other parts leaves as it
  is: by position, or by (label, bytes), so that the same images in another order give every
  model the same. What a model's training draws must not depend on positions in the set.

  Args:
    training_set: the set that was cut.
    parts: `[n]`, of the images that are present, as from `by_content`.
    num_parts: M.
    spread: d, how many models a part goes to.
    seed: of the offsets.
    positional: whether the order is by position, `Partition.positional`.
  """
  of_models = [(parts + offset) % num_parts for offset in offsets(num_parts, spread, seed)]
  models = np.concatenate(of_models)
  rank = np.arange(len(parts))  # Positions are rising.
  if not positional:
    labels = training_set.labels[training_set.present].tolist()
    keys = list(zip(labels, _contents(training_set), strict=True))
    rank[sorted(rank.tolist(), key=keys.__getitem__)] = np.arange(len(parts))
  order = np.lexsort((np.tile(rank, spread), models))
  sizes = np.bincount(models, minlength=num_parts)
  columns = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
  positions = np.zeros((num_parts, sizes.max()), np.int32)
  positions[models[order], columns] = np.tile(training_set.present, spread)[order]
  return Members(positions, sizes.astype(np.int32))


def _contents(training_set: types.TrainingSet) -> list[bytes]:
  """The bytes of each image that is present."""
  return [training_set.images[each].tobytes() for each in training_set.present]


def _check(training_set: types.TrainingSet, num_parts: int) -> None:
  most = len(training_set.present)
  if not 1 <= num_parts <= most:
    raise errors.InputError(
      f"a training set of {most} images cannot be cut into {num_parts} parts: let config "
      f"field train.ensemble.num_models be such that there are from 1 to {most}"
    )
