"""Certification as a stream: points share the device's calls until their rules are done.

A window of points is open at a time. A call draws the samples that the points ask for, the
oldest points first, up to the call's size, and in whole batches while at least one batch is
asked for. So points are done roughly in order. Two calls are in flight at a time, each
taking about a second.
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

_CALL_SECONDS = 1.0  # Short, so that points are written soon and an interruption loses few.
_FIRST_BATCHES = 4  # Batches of the first call; later calls are sized by their time.


class Point:
  """A point being certified: the samples that its rule has asked for and been given."""

  def __init__(self, rule: Sampling, image: np.ndarray, key_data, name: Any):
    self.image, self.key_data, self.name = image, key_data, name
    self._rule = rule
    self._votes: np.ndarray | int = 0
    self._missing = self.wanted = next(rule)  # Samples not returned, not started.
    self.num_started, self._non_finite = 0, 0
    self.seconds, self.certificate = 0.0, None

  def take(self, most: int) -> int:
    """Starts at most `most` of the samples asked for; returns how many."""
    size = min(most, self.wanted)
    self.wanted, self.num_started = self.wanted - size, self.num_started + size
    return size

  def give(self, counts: np.ndarray, non_finite: int, seconds: float) -> None:
    """Adds int `[K]` votes; once all samples asked for are in, the rule is resumed."""
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
  """Runs the points' rules until each has its certificate.

  Args:
    start: `start(images, keys, first, count)` starts one call of `votes.draw` and returns
      its result without waiting for it.
    points: the points in order; taken one by one.
    batch_size: batch size of all devices together; a call has whole batches while at least
      one is asked for.

  Yields:
    `(certificate, seconds)` in the order of the points, whichever is done first; seconds
    are the point's share, by samples, of the calls' time.

  Raises:
    NonFiniteError: a sample's logits are not finite; the message names the point.
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
    whole = wanted // batch_size * batch_size  # The rest waits for others.
    if whole or not calls:
      room = min(whole or wanted, num_batches * batch_size)
      calls.append(_start_call(start, window, room))
      if len(calls) < votes.IN_FLIGHT:
        continue
    call, result = calls.popleft()
    counts, non_finite = (shares.sum(axis=0) for shares in jax.device_get(result))
    now = time.perf_counter()
    seconds, before, num_samples = now - before, now, sum(size for _, size in call)
    # The first process's time, so that all processes start equal calls.
    seconds = float(processes.from_first(np.float32(seconds)))
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
  """Starts `room` samples of the oldest points: ([(point, samples)], the pending votes)."""
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
