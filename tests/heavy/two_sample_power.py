"""How often two-sample tests raise a false alarm, and how often they find a poison.

  python tests/heavy/two_sample_power.py --data=digits --poison=runs/digits_ga
  python tests/heavy/two_sample_power.py --data=mnist --data_dir=FOLDER --poison=RUN \
      [--clean_draws=200] [--draws=100] [--sizes 5 10 20 50] [--level=0.05]

A draw pools the training and validation images of each class, and takes trusted images from
them at random; the others are the training set. With a poison, the attacked class is what
the poison makes of its images, but for those that are trusted in the draw. The
attacked class is found if its p-value, times the number of classes, is at most the level.
"""

import argparse
import sys

import jax
import numpy as np
from scipy import stats

from pacd_jax import types
from pacd_jax.data import arrays, poison_file, training_sets
from pacd_jax.defenses.trusted import images, two_sample
from pacd_jax.experiment.entries import data_sets


def _pool(splits: types.Splits) -> types.Dataset:
  parts = splits.train, splits.validation
  return types.Dataset(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _vectors(stored: np.ndarray) -> np.ndarray:
  return arrays.to_float(stored).reshape(len(stored), -1)


def _clean_alarm(pool: types.Dataset, size: int, level: float, seed: int) -> bool:
  """Whether one draw of clean data raises any alarm."""
  generator, trusted, training = np.random.default_rng(seed), [], []
  for label in np.unique(pool.labels):
    order = generator.permutation(np.flatnonzero(pool.labels == label))
    trusted.append(order[:size])
    training.append(order[size:])
  chosen, rest = (np.concatenate(each) for each in (trusted, training))
  classes = images.by_class(
    training_sets.whole(types.Dataset(pool.images[rest], pool.labels[rest])),
    types.Dataset(pool.images[chosen], pool.labels[chosen]),
    0,
    jax.random.key(seed),
  )
  tests = two_sample.of_classes(classes, jax.random.key(seed), level=level)
  return min(two_sample.holm([each.both for each in tests])) <= level


def _found(
  pool: types.Dataset, poison: types.Poison, size: int, level: float, seed: int
) -> bool:
  """Whether one draw finds the poison's class."""
  generator = np.random.default_rng(seed)
  order = generator.permutation(np.flatnonzero(pool.labels == poison.target_class))
  trusted = order[:size]
  stays = ~np.isin(poison.indices, trusted)
  ours, theirs = _vectors(poison.images[stays]), _vectors(pool.images[trusted])
  alone = images.Classes([poison.target_class], [], [ours], [theirs], 0)
  # The level of one class, so that there are as many permutations as for all of them.
  of_one = level / len(np.unique(pool.labels))
  (tests,) = two_sample.of_classes(alone, jax.random.key(seed), level=of_one)
  return tests.both <= of_one


def _interval(count: int, total: int) -> str:
  low, high = stats.binomtest(count, total).proportion_ci(method="exact")
  share, low, high = (100 * each for each in (count / total, low, high))
  return f"{count} of {total}: {share:.1f} % [{low:.1f}, {high:.1f}]"


def main(arguments: list[str]) -> int:
  """Writes a line for each figure as it is done."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--data", default="digits")
  parser.add_argument("--data_dir", default="")
  parser.add_argument("--poison", help="a poison's file, or the folder of its run")
  parser.add_argument("--clean_draws", type=int, default=200)
  parser.add_argument("--draws", type=int, default=100)
  parser.add_argument("--sizes", type=int, nargs="+", default=[5, 10, 20, 50])
  parser.add_argument("--level", type=float, default=0.05)
  chosen = parser.parse_args(arguments)
  splits = data_sets.load(chosen.data, data_dir=chosen.data_dir)
  pool = _pool(splits)
  if chosen.poison:
    poison = poison_file.load(poison_file.find(chosen.poison))
    for size in chosen.sizes:
      count = sum(
        _found(pool, poison, size, chosen.level, seed) for seed in range(chosen.draws)
      )
      words = _interval(count, chosen.draws)
      sys.stdout.write(f"{chosen.data}, {size} trusted, found in {words}\n")
      sys.stdout.flush()
  size, total = max(chosen.sizes), chosen.clean_draws
  count = sum(_clean_alarm(pool, size, chosen.level, seed) for seed in range(total))
  words = _interval(count, total)
  sys.stdout.write(f"{chosen.data}, {size} trusted, clean, alarm in {words}\n")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
