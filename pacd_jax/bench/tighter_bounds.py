"""The bounds that `tighter` measures."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special as special


def randomised_lower(count, n, alpha: float, u) -> np.ndarray:
  """The p with P[X > count] + u P[X = count] = alpha, X ~ Binomial(n, p), or 0.

  With u ~ U(0, 1) it exceeds the true p with probability alpha exactly, where that is not
  0; u = 1 is the bound of Clopper and Pearson. Arrays of one shape; float64 in [0, 1].
  """
  count, n, u = np.broadcast_arrays(np.asarray(count, float), np.asarray(n, float), u)
  more, no_more = np.minimum(count + 1.0, n), np.maximum(n - count, 1.0)

  def tail(p):
    above = np.where(count < n, special.betainc(more, no_more, p), 0.0)
    least = special.betainc(np.maximum(count, 1.0), n - count + 1.0, p)
    return (1.0 - u) * above + u * np.where(count > 0, least, 1.0)

  return _largest(lambda p: tail(p) <= alpha, np.zeros(count.shape), np.ones(count.shape))


def sequence_lower(count, n, alpha: float) -> np.ndarray:
  """The lower end of a confidence sequence: at no n is it above p, but with alpha.

  Of the p under count / n at which the mixture of likelihood ratios by Jeffreys' prior is
  at least 1 / alpha, the largest (Robbins, 1970). Arrays of one shape.
  """
  count, n = np.broadcast_arrays(np.asarray(count, float), np.asarray(n, float))
  mixture = special.betaln(count + 0.5, n - count + 0.5) - special.betaln(0.5, 0.5)

  def is_refuted(p):
    likelihood = special.xlogy(count, p) + special.xlog1py(n - count, -p)
    return mixture - likelihood >= -np.log(alpha)

  return _largest(is_refuted, np.zeros(count.shape), count / n)


def _largest(holds: Callable, low: Any, high: Any) -> Any:
  """The largest number in [low, high] at which a falling condition holds, from below."""
  for _ in range(60):
    middle = 0.5 * (low + high)
    fits = holds(middle)
    low, high = np.where(fits, middle, low), np.where(fits, high, middle)
  return low


def second_order_radius(p_a: float, slope: float) -> float:
  """The radius over sigma, given p_A > 1/2 and that sigma |grad p| <= slope.

  The worst classifier is 1 where t1 < t < t2 along one direction, with
  Phi(t2) - Phi(t1) = p_A and phi(t2) - phi(t1) = slope; the radius has
  Phi(t2 - r) - Phi(t1 - r) = 1/2. At the largest slope, phi(Phi^-1(p_A)), which a linear
  classifier has, t1 is -inf, and the radius that of Cohen et al. (2019).
  """

  def end(t1):
    return -special.ndtri(np.maximum(1.0 - p_a - special.ndtr(t1), 0.0))

  symmetric = special.ndtri(0.5 * (1.0 - p_a))
  t1 = _largest(
    lambda t: steepness(end(t)) - steepness(t) >= slope, np.array(-40.0), symmetric
  )
  t2 = end(t1)
  radius = _largest(
    lambda r: special.ndtr(t2 - r) - special.ndtr(t1 - r) >= 0.5,
    np.array(0.0),
    np.array(20.0),
  )
  return float(radius)


def steepness(quantile):
  """phi: the density at Phi^-1(p_A) is the slope of a linear classifier."""
  return np.exp(-0.5 * quantile * quantile) / np.sqrt(2.0 * np.pi)
