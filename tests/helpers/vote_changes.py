"""Certificates of votes by brute force: every change of every set of models is made."""

import functools
import itertools

import numpy as np


def logits(num_models, num_points, num_classes, seed=0):
  """Logits `[M, B, K]` of few values: there are ties within models and between classes."""
  rng = np.random.default_rng([seed, num_models, num_classes])
  of_point = rng.integers(0, 5, (1, num_points, num_classes))
  draws = rng.integers(0, 5, (num_models, num_points, num_classes))
  return (draws + of_point).astype(np.float32)


@functools.cache
def all_votes(num_models, num_classes):
  """Every way in which models can vote: `[V, M]`."""
  every = itertools.product(range(num_classes), repeat=num_models)
  return np.array(list(every), np.int32)


def plurality(votes, num_classes):
  """The class with most votes, the smallest of equal ones: `[V, M]` -> `[V]`."""
  return (votes[:, :, None] == np.arange(num_classes)).sum(axis=1).argmax(axis=1)


@functools.cache
def _outcomes(num_models, num_classes):
  return plurality(all_votes(num_models, num_classes), num_classes)


@functools.cache
def parts_of_models(num_models, offsets):
  """For every set of models, as bits, the least number of parts that reach all: `[2^M]`."""
  sets = range(2**num_models)
  reached = [sum(1 << (h + s) % num_models for s in offsets) for h in range(num_models)]
  least = np.full(2**num_models, num_models + 1)
  least[0] = 0
  unions = {0}
  for count in range(1, num_models + 1):
    unions = {union | reach for union in unions for reach in reached}
    for each in sets:
      if least[each] > count and any(each & ~union == 0 for union in unions):
        least[each] = count
  return least


def plurality_radius(votes, num_classes, offsets=(0,)):
  """How many parts can change without moving the plurality of votes `[M]`."""
  num_models = len(votes)
  others = all_votes(num_models, num_classes)
  own = plurality(votes[None], num_classes)[0]
  moved = others[_outcomes(num_models, num_classes) != own]
  changed = (moved != votes) @ (1 << np.arange(num_models))
  return own, parts_of_models(num_models, offsets)[changed].min() - 1


@functools.cache
def _rankings(num_classes):
  """Every order of the classes, the best one first: `[P, K]`."""
  return np.array(list(itertools.permutations(range(num_classes))))


def ranking(logits):
  """The order of the classes by logits `[..., K]`; of equal ones, the smaller label."""
  return np.argsort(-logits, axis=-1, kind="stable")


def run_off(rankings):
  """The winner of one election, round by round, of rankings `[M, K]`."""
  num_models, num_classes = rankings.shape
  counts = np.bincount(rankings[:, 0], minlength=num_classes)
  low, high = sorted(sorted(range(num_classes), key=lambda c: (-counts[c], c))[:2])
  for_low = sum(list(r).index(low) < list(r).index(high) for r in rankings)
  return low if 2 * for_low >= num_models else high


@functools.cache
def _all_run_offs(num_models, num_classes):
  """Every way in which models can rank, and who wins then: `[V, M]`, `[V]`."""
  rankings = _rankings(num_classes)
  ways = all_votes(num_models, len(rankings))
  winners, shape = {}, ways.shape[:1]
  outcomes = np.empty(shape, np.int64)
  for number, way in enumerate(np.sort(ways, axis=1)):  # Who ranks how has no influence.
    key = way.tobytes()
    if key not in winners:
      winners[key] = run_off(rankings[way])
    outcomes[number] = winners[key]
  return ways, outcomes


def run_off_radius(rankings):
  """How many models can change without moving the winner of rankings `[M, K]`."""
  num_models, num_classes = rankings.shape
  order = _rankings(num_classes)
  own = (rankings[:, None] == order[None]).all(axis=2).argmax(axis=1)
  ways, outcomes = _all_run_offs(num_models, num_classes)
  winner = run_off(rankings)
  return winner, (ways[outcomes != winner] != own).sum(axis=1).min() - 1
