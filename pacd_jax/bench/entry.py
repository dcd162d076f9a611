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
  peer_amount: float | None = None  # Where the peer does another amount of that work.


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
  amounts = entry.amount, entry.peer_amount or entry.amount
  ours, peer = (
    amount / statistics.median(times)
    for amount, times in zip(amounts, zip(*turns, strict=True), strict=True)
  )
  return {"ours": ours, "peer": peer, "ratio": ours / peer, "unit": entry.unit}
