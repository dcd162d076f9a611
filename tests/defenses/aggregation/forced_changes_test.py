"""Every change of few training images is made, and the models are trained again.

The models are nearest centroids, a function of their images alone.
"""

import itertools

import jax
import long
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import types
from pacd_jax.data import training_sets
from pacd_jax.defenses.aggregation import (
  deep_partition,
  finite_aggregation,
  partitions,
  run_off,
)

_CLASSES = 3
# By spread: the rules that fit.
_RULES = {
  "deep_partition": (jax.jit(deep_partition.certify), 1),
  "run_off": (jax.jit(run_off.certify), 1),
  "finite_aggregation": (
    jax.jit(lambda logits: finite_aggregation.certify(logits, partitions.offsets(7, 2))),
    2,
  ),
}


def _images(count, seed):
  """Images of 3 pixels, one of which is bright in each class, and their labels."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, _CLASSES, count).astype(np.int32)
  images = rng.integers(0, 90, (count, 1, _CLASSES, 1))
  images[np.arange(count), 0, labels, 0] += 120
  return images.astype(np.uint8), labels


def _logits(training_set, name, spread, queries):
  """Of nearest centroids, `[7, B, K]`; -inf for a class that a part lacks."""
  partition = partitions.PARTITIONS[name]
  found = partitions.members(
    training_set,
    partition.assign(training_set, 7),
    7,
    spread=spread,
    positional=partition.positional,
  )
  logits = np.full((7, len(queries), _CLASSES), -np.inf, np.float32)
  images, labels, _ = training_set
  for of_model, own, size in zip(logits, found.positions, found.sizes, strict=True):
    for label in np.unique(labels[own[:size]]):
      of_class = images[own[:size]][labels[own[:size]] == label]
      difference = queries - of_class.astype(np.float64).mean(axis=0)[None]
      of_model[:, label] = -np.square(difference).sum(axis=(1, 2, 3))
  return logits


def _without_and_with(training_set, pool, changes):
  """Images removed, where a change is below the number of images, or inserted."""
  count = len(training_set.labels)
  new = [change - count for change in changes if change >= count]
  kept = np.setdiff1d(training_set.present, changes)
  images, labels = pool[0][new], pool[1][new]
  return training_sets.insert(training_sets.keep(training_set, kept), images, labels)


def _changed_sets(training_set, name, r):
  """Every training set that r changes, in the partition's unit, can make of it."""
  count, pool = len(training_set.labels), _images(6, 9)
  pool[1][:] = (pool[1] + 1) % _CLASSES  # Labels that do not fit.
  if name == "content":
    for changes in itertools.combinations(range(count + 6), r):
      yield _without_and_with(training_set, pool, changes)
    return
  for places in itertools.combinations(range(count), r):
    others = range(6) if name == "position" else range(1, _CLASSES)
    for chosen in itertools.product(others, repeat=r):
      images, labels = training_set.images.copy(), training_set.labels.copy()
      if name == "position":
        images[list(places)] = pool[0][list(chosen)]
        labels[list(places)] = pool[1][list(chosen)]
      else:
        labels[list(places)] = (labels[list(places)] + chosen) % _CLASSES
      yield training_set._replace(images=images, labels=labels)


class ForcedChangesTest(parameterized.TestCase):
  @parameterized.product(name=tuple(partitions.PARTITIONS), rule=tuple(_RULES))
  @long.after(1)
  def test_no_certified_prediction_moves(self, name, rule):
    certify, spread = _RULES[rule]
    training_set = training_sets.whole(types.Dataset(*_images(14, 0)))
    queries = _images(12, 1)[0]
    logits = _logits(training_set, name, spread, queries)
    prediction, radius = map(np.asarray, certify(logits))
    self.assertGreaterEqual(radius.max(), 1)
    moved = np.zeros(len(queries), int)
    for r in (1, 2):
      if name == "position" and r > 1:
        continue  # Too many for a test of seconds.
      changed = [
        _logits(each, name, spread, queries)
        for each in _changed_sets(training_set, name, r)
      ]
      after, _ = certify(np.concatenate(changed, axis=1))
      after = np.asarray(after).reshape(len(changed), -1)
      held = radius >= r
      np.testing.assert_array_equal(
        after[:, held], np.broadcast_to(prediction[held], after[:, held].shape)
      )
      moved += (after != prediction).any(axis=0)
    # The changes are such that predictions do move.
    self.assertGreater(moved.max(), 0)


if __name__ == "__main__":
  absltest.main()
