"""One comparison of the benchmark, and how it is measured."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

_ROUNDS, _ROUNDS_IF_SLOW, _SLOW_SECONDS = 7, 3, 3.0


# "ours", "peer", their "ratio", the "unit", and "spread": the larger one of both sides'
# longest time over its shortest, less 1. Some have more.
Row = dict[str, float | str]


class Entry(NamedTuple):
  """One comparison: two functions that do `amount` units of the same work."""

  ours: Callable[[], object]
  peer: Callable[[], object]
  amount: float
  unit: str
  peer_amount: float | None = None  # If the peer does another amount of that work.


def seconds(function: Callable[[], object], clock: Callable[[], float]) -> float:
  """The time of one call, until its arrays are there."""
  start = clock()
  jax.block_until_ready(function())
  return clock() - start


def measure(
  entry: Entry,
  *,
  rounds: int | None = None,
  clock: Callable[[], float] = lambda: time.perf_counter(),
) -> Row:
  """Measures medians over `rounds` turns, after two turns that are not counted.

  Without `rounds`: seven turns; or three, of which the second uncounted one is the first,
  if it takes longer than three seconds.
  """
  both = entry.ours, entry.peer
  for function in both:
    seconds(function, clock)  # Compiles.
  second = [seconds(function, clock) for function in both]
  turns = []
  if rounds is None and sum(second) > _SLOW_SECONDS:
    turns.append(second)
    rounds = _ROUNDS_IF_SLOW - 1
  for _ in range(rounds or _ROUNDS):
    turns.append([seconds(function, clock) for function in both])
  return row(turns, (entry.amount, entry.peer_amount or entry.amount), entry.unit)


def row(turns: Sequence[Sequence[float]], amounts: tuple[float, float], unit: str) -> Row:
  """The medians of both sides' seconds, turn by turn, as rates."""
  sides = list(zip(*turns, strict=True))
  ours, peer = (
    amount / statistics.median(times) for amount, times in zip(amounts, sides, strict=True)
  )
  spread = max(max(times) / min(times) for times in sides) - 1.0
  return {"ours": ours, "peer": peer, "ratio": ours / peer, "unit": unit, "spread": spread}
