"""Chernoff's bound of how likely a weighted sum of independent signs is not positive."""

import numpy as np

_ROUNDING = 1e-9  # Relative: what float64 may take from an exponent.


def log_tail(alpha: np.ndarray, plus: np.ndarray, minus: np.ndarray) -> float:
  """The logarithm of a bound of P[sum_i alpha_i d_i <= 0], d_i = 1, -1 or 0 by chance.

    log min_{t > 0} prod_i E exp(-t alpha_i d_i)

  which is convex in t. It holds at any t, so that the search for the best one cannot make
  it wrong. Exponents of thousands are as exact as small ones.

  Args:
    alpha: float64 `[n]`, of any sign.
    plus: P[d_i = 1], `[n]`.
    minus: P[d_i = -1], `[n]`, neither of them 0.

  Returns:
    At most 0; it is 0 where the sum's mean is not positive.
  """
  from scipy import optimize  # Imported here: starts are to be quick.

  if not (alpha * (plus - minus)).sum() > 0.0:  # Then no t > 0 helps.
    return 0.0
  alpha = alpha / np.abs(alpha).max()
  zero = np.maximum(0.0, 1.0 - plus - minus)

  def terms(t):
    """E exp(-t alpha_i d_i), in its parts, over exp(t |alpha_i|)."""
    shift = t * np.abs(alpha)
    up, down = plus * np.exp(-t * alpha - shift), minus * np.exp(t * alpha - shift)
    return up, down, up + zero * np.exp(-shift) + down, shift

  def slope(t):
    up, down, total, _ = terms(t)
    return (alpha * (down - up) / total).sum()

  high = 1.0
  while slope(high) < 0.0:
    high *= 2.0
  best = optimize.brentq(slope, 0.0, high, xtol=1e-6 * high, rtol=1e-6)
  _, _, total, shift = terms(best)
  bound = (np.log(total) + shift).sum()
  return min(0.0, float(bound + _ROUNDING * (1.0 + abs(bound))))
