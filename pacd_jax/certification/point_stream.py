"""Certification as a stream: points take turns on the device, each until its rule is done.

A window of points is open at a time, and a call draws what the oldest of them ask for, as
far as it has room, in whole batches while they ask for so much: points are done about in
their order. Two calls are under way at a time, of about a second each.
"""

import collections
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from pacd_jax import errors
from pacd_jax.certification import votes
from pacd_jax.certification.rules.rule import Sampling
from pacd_jax.runtime import processes
from pacd_jax.types import Certificate

_CALL_SECONDS = 1.0  # Points are written as they are done, and an end is not far.
_FIRST_BATCHES = 4  # Of the first call; later ones are as long as they take.


class Point:
  """A point on its way to a certificate: what its rule has asked for and been given."""

  def __init__(self, rule: Sampling, image: np.ndarray, key_data, name: Any):
    self.image, self.key_data, self.name = image, key_data, name
    self._rule = rule
    self._votes: np.ndarray | int = 0
    self._missing = self.wanted = next(rule)  # Samples: not returned, not yet started.
    self.num_started, self._non_finite = 0, 0
    self.seconds, self.certificate = 0.0, None

  def take(self, most: int) -> int:
    """Starts as many of the samples asked for as there is room for."""
    size = min(most, self.wanted)
    self.wanted, self.num_started = self.wanted - size, self.num_started + size
    return size

  def give(self, counts: np.ndarray, non_finite: int, seconds: float) -> None:
    """Takes in int `[K]` votes; the rule goes on once it has all that it asked for."""
    self._votes, self._missing = self._votes + counts, self._missing - counts.sum()
    self._non_finite, self.seconds = self._non_finite + non_finite, self.seconds + seconds
    if self._missing:
      return
    if self._non_finite:
      what = f"{self._non_finite} of {self.num_started} noisy samples"
      raise errors.NonFiniteError(
        f"certify, point {self.name}: {what} have non-finite logits"
      )
    counts, self._votes = self._votes, 0
    try:
      self._missing = self.wanted = self._rule.send(counts)
    except StopIteration as end:
      self.certificate = end.value


def run(
  start: Callable[..., Any], points: Iterable[Point], batch_size: int
) -> Iterator[tuple[Certificate, float]]:
  """Drives the points' rules until each has its certificate.

  Args:
    start: `start(images, keys, first, count)` starts one call of `votes.draw` and returns
      its result, which need not be there yet.
    points: in the order in which they are wanted; taken one by one.
    batch_size: of all devices together; a call is of whole ones as long as so much is
      asked for.

  Yields `(certificate, seconds)` in the order of the points, whichever is done first:
  seconds are the point's share, by samples, of the time that the calls took.

  Raises:
    NonFiniteError: a sample's logits are not finite; names the point.
  """
  points, window, before = iter(points), [], time.perf_counter()
  calls, unwritten = collections.deque(), collections.deque()
  most = votes.most_batches(batch_size)
  num_batches = min(_FIRST_BATCHES, most)
  while True:
    new = list(itertools.islice(points, votes.WINDOW - len(window)))
    window.extend(new)
    unwritten.extend(new)
    if not window:
      return
    wanted = sum(point.wanted for point in window)
    whole = wanted // batch_size * batch_size  # What remains waits for company.
    if whole or not calls:
      room = min(whole or wanted, num_batches * batch_size)
      calls.append(_start_call(start, window, room))
      if len(calls) < votes.IN_FLIGHT:
        continue
    call, result = calls.popleft()
    counts, non_finite = (shares.sum(axis=0) for shares in jax.device_get(result))
    now = time.perf_counter()
    seconds, before, num_samples = now - before, now, sum(size for _, size in call)
    seconds = float(processes.from_first(np.float32(seconds)))  # All start equal calls.
    in_time = int(_CALL_SECONDS / max(seconds, 1e-9) * -(-num_samples // batch_size))
    num_batches = max(1, min(2 * num_batches, in_time, most))
    share = seconds / num_samples
    for slot, (point, size) in enumerate(call):
      point.give(counts[slot].astype(np.int64), int(non_finite[slot]), share * size)
    window = [point for point in window if point.certificate is None]
    while unwritten and unwritten[0].certificate is not None:
      point = unwritten.popleft()
      yield point.certificate, point.seconds


def _start_call(start: Callable[..., Any], window: list[Point], room: int):
  """Starts `room` samples of the oldest points: `[(point, samples)]`, votes to come."""
  call, first = [], np.zeros(votes.WINDOW, np.uint32)
  images = np.zeros((votes.WINDOW, *window[0].image.shape), np.float32)
  keys = np.zeros((votes.WINDOW, *window[0].key_data.shape), np.uint32)
  for point in window:
    slot, first_sample = len(call), point.num_started
    if size := point.take(room):
      room -= size
      call.append((point, size))
      images[slot], keys[slot], first[slot] = point.image, point.key_data, first_sample
  count = np.zeros(votes.WINDOW, np.int32)
  count[: len(call)] = [size for _, size in call]
  return call, start(images, keys, first, count)
