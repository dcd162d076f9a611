"""Drives a sampling rule by answers that are given to it."""

import numpy as np


def run(rule, draw, label=None):
  """The certificate, or None where `draw(k)` gives no more; and every k asked for."""
  point, asked, votes = rule(label), [], None
  try:
    while True:
      asked.append(point.send(votes))
      if (votes := draw(asked[-1])) is None:
        return None, asked
  except StopIteration as end:
    return end.value, asked


def replay(rule, *counts, label=None):
  """Runs it with so many votes for class 0 of 2, answer by answer, as far as they go.

  A function among them is given the size and returns the count.
  """
  counts = iter(counts)

  def draw(size):
    count = next(counts, None)
    count = count(size) if callable(count) else count
    return None if count is None else np.array([count, size - count])

  return run(rule, draw, label)
