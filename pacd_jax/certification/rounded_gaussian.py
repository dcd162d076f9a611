"""A rounded Gaussian, sampled from a distribution that is known exactly, in integers.

round(N(0, s^2)) takes the value k with probability

  P_k = Phi((k + 1/2) / s) - Phi((k - 1/2) / s)

The table samples Q, whose probabilities are multiples of 2^-64: floor(2^64 P_k) / 2^64 for
every k != 0 that the table reaches, 0 beyond, and the rest at k = 0. So Q_k <= P_k for all
k != 0, and the two distributions are at a total variation of exactly Q_0 - P_0.

From fair bits Q is sampled by Walker's alias method (1977), ACM TOMS 3(3), in integers: the
first c bits of a word choose a column, of 2^c; the column has a threshold and an alias; the
rest of the bits under the threshold give the column's own value, otherwise the alias. The
rest is 32 - c bits of a first word, and a second word of 32 bits where those are equal to
the threshold's: `exact_noise` draws that one only for the few that need it.
"""

import decimal
import functools
import itertools
import math
from typing import NamedTuple

import numpy as np

BITS = 64  # Of a number, in two words.
REACH = 8.0  # In standard deviations, at least.
_DIGITS = 50  # Of decimal numbers, whose rounding is far under 2^-64 = 5e-20.
_ROUNDING = decimal.Decimal("1e-40")


class AliasTable(NamedTuple):
  """The table of Q; column i has the value i - 2^(c - 1)."""

  # uint32 `[2^c]`: the first 32 - c bits of a threshold, then the c bits of an alias.
  entries: np.ndarray
  seconds: np.ndarray  # uint32 `[2^c]`: the other 32 bits of the thresholds.


class Distribution(NamedTuple):
  """Q, and what it lacks of P."""

  weights: tuple[int, ...]  # 2^64 Q_k for k = -2^(c - 1), ..., 2^(c - 1) - 1.
  distance: float  # An upper bound of the total variation between Q and P.


def log2_columns(std: float) -> int:
  """c, the least that reaches `REACH` standard deviations; the table has 2^c columns."""
  return 1 + max(1, math.ceil(math.log2(REACH * std + 1.0)))


@functools.cache
def distribution(std: float) -> Distribution:
  """Q for a standard deviation s of at most 4,095.

  Args:
    std: s, in steps of the grid: the number that this float64 is, exactly.
  """
  half = 2 ** (log2_columns(std) - 1)
  with decimal.localcontext(prec=_DIGITS):
    s, scale = decimal.Decimal(std), decimal.Decimal(2**BITS)
    below = [_above_zero((2 * k + 1) / (2 * s)) for k in range(half)]
    cells = [2 * below[0]] + [b - a for a, b in itertools.pairwise(below)]
    last = _above_zero((2 * half + 1) / (2 * s)) - below[-1]  # The table's first value.
    whole = [max(0, math.floor(scale * (p - _ROUNDING))) for p in [*cells[1:], last]]
  right, left = whole[:-1], whole[::-1]
  weights = [*left, 2**BITS - sum(left) - sum(right), *right]
  excess = weights[half] - math.floor(scale * cells[0])  # 2^64 (Q_0 - P_0), rounded up.
  return Distribution(tuple(weights), math.nextafter(excess / 2**BITS, 1.0))


def _above_zero(z: decimal.Decimal) -> decimal.Decimal:
  """Phi(z) - 1/2 for z >= 0 = phi(z) (z + z^3 / 3 + z^5 / (3 5) + ...), all positive."""
  term = total = z
  n, square = 1, z * z
  while term > total * _ROUNDING:
    n += 2
    term = term * square / n
    total += term
  return total * (-square / 2).exp() / (2 * _pi()).sqrt()


@functools.cache
def _pi() -> decimal.Decimal:
  """Machin's formula: pi = 16 arctan(1/5) - 4 arctan(1/239)."""
  with decimal.localcontext(prec=_DIGITS + 10):
    return 16 * _arctan_of_inverse(5) - 4 * _arctan_of_inverse(239)


def _arctan_of_inverse(n: int) -> decimal.Decimal:
  term = decimal.Decimal(1) / n
  total, power = term, 1
  while abs(term) > decimal.Decimal(10) ** (-_DIGITS - 10):
    power += 2
    term /= -n * n
    total += term / power
  return total


@functools.cache
def alias_table(std: float) -> AliasTable:
  """The alias table of `distribution(std)`, in whole numbers: it samples Q exactly."""
  weights = list(distribution(std).weights)
  num_columns = len(weights)
  bits = num_columns.bit_length() - 1
  room = 2**BITS // num_columns  # A column's share of 2^64.
  thresholds, aliases = [0] * num_columns, list(range(num_columns))
  small = [i for i, weight in enumerate(weights) if weight < room]
  large = [i for i, weight in enumerate(weights) if weight >= room]
  while small and large:
    i, j = small.pop(), large[-1]
    thresholds[i], aliases[i] = weights[i], j
    weights[j] -= room - weights[i]
    if weights[j] < room:
      small.append(large.pop())
  # The others' weights are `room` exactly: each is its own alias, whatever the threshold.
  first = np.array([threshold >> 32 for threshold in thresholds], np.uint32)
  second = np.array([threshold % 2**32 for threshold in thresholds], np.uint32)
  entries = first << np.uint32(bits) | np.array(aliases, np.uint32)
  return AliasTable(entries, second)
