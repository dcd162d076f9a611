"""One comparison of the benchmark, and how it is measured."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax

_ROUNDS = 7


class Entry(NamedTuple):
  """One comparison: two functions that do `amount` units of the same work."""

  ours: Callable[[], object]
  peer: Callable[[], object]
  amount: float
  unit: str


def _seconds(function: Callable[[], object]) -> float:
  start = time.perf_counter()
  jax.block_until_ready(function())
  return time.perf_counter() - start


def measure(entry: Entry, *, rounds: int = _ROUNDS) -> dict[str, float | str]:
  """Medians over `rounds` turns, after one of each that is not counted."""
  both = entry.ours, entry.peer
  for function in both:
    _seconds(function)
  turns = [[_seconds(function) for function in both] for _ in range(rounds)]
  ours, peer = (
    entry.amount / statistics.median(times) for times in zip(*turns, strict=True)
  )
  return {"ours": ours, "peer": peer, "ratio": ours / peer, "unit": entry.unit}
