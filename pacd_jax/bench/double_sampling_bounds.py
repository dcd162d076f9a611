"""Radii of votes under two Gaussian noises: DSRS with a second noise of another variance.

Li et al. (2022), "Double Sampling Randomized Smoothing", https://arxiv.org/abs/2206.07912.
The noise P is N(0, I) in d dimensions; radii are in sigma. A classifier has p_A under P and
q_A under Q = N(0, ratio^2 I), whose density over P's is a function w of the norm. Of all
such classifiers the one that has least under P shifted by r e_1 is 1 where

  exp(r x_1 - r^2 / 2) < lambda_1 + lambda_2 w(|x|)  (Neyman and Pearson, 1933).

The rest of x has a squared norm of chi^2 with d - 1 degrees that is independent of x_1, so
that all probabilities are integrals over x_1, of its distribution function. Any lambdas of
the right signs bound that least probability from below by the dual's value.
"""

from collections.abc import Callable

import numpy as np
import scipy.optimize as optimize
import scipy.special as special

_REACH = 9.5  # N(0, 1) has less than 1e-20 beyond.
_FARTHEST = 20.0  # The largest radius.
_STEP = 1e-5  # To which radii are found, from below.


def half_space(p_a: float, ratio: float) -> float:
  """q_A under N(0, ratio^2 I) of the half-space whose probability is p_A under N(0, I)."""
  return float(special.ndtr(special.ndtri(p_a) / ratio))


def _nodes() -> tuple[np.ndarray, np.ndarray]:
  """Distances from an integrand's end, and weights: panels that grow from 1e-4 to 1."""
  edges = [0.0, 1e-4]
  while edges[-1] < 2.0 * _REACH + 4.0:
    edges.append(edges[-1] + min(1.5 * edges[-1], 0.8))
  points, weights = np.polynomial.legendre.leggauss(8)
  low, width = np.array(edges[:-1])[:, None], np.diff(edges)[:, None]
  return (low + width * 0.5 * (points + 1.0)).ravel(), (0.5 * width * weights).ravel()


_DISTANCES, _WEIGHTS = _nodes()


def _probabilities(
  angle: float, log_scale: float, radius: float, ratio: float, size: int
) -> np.ndarray:
  """Of the worst classifier under P, Q and P shifted: `[3]`.

  It is 1 where exp(r x_1) < scale (cos angle + sin angle w), with w = exp(-c (|x|^2 - d))
  and c = (ratio^-2 - 1) / 2: Q's density over P's, but for a factor.
  """
  cos, sin = np.cos(angle), np.sin(angle)
  end = (log_scale + np.log(max(cos, 1e-300))) / radius  # Where w alone decides is beyond.
  farthest = _REACH * max(1.0, ratio)
  if sin > 0.0:
    end = np.clip(end, -farthest, farthest + radius)
    x = end + _DISTANCES
  else:
    end = np.clip(end, -farthest, farthest + radius)
    x = end - _DISTANCES
  least = (np.exp(np.minimum(radius * x - log_scale, 600.0)) - cos) / sin
  c = 0.5 * (ratio**-2 - 1.0)
  square = size - np.log(np.maximum(least, 1e-300)) / c - x * x  # Of the rest, at equality.
  is_inner = (c > 0.0) == (sin > 0.0)
  share_of = special.chdtr if is_inner else special.chdtrc
  found = []
  for scale, shift in ((1.0, 0.0), (ratio, 0.0), (1.0, radius)):
    z = (x - shift) / scale
    density = np.exp(-0.5 * z * z) / (np.sqrt(2.0 * np.pi) * scale)
    share = share_of(size - 1, np.maximum(square, 0.0) / scale**2)
    share = np.where(least > 0.0, share, 1.0 if sin > 0.0 else 0.0)
    whole = special.ndtr((end - shift) / scale) if sin > 0.0 else 0.0
    found.append(whole + (density * share) @ _WEIGHTS)
  return np.array(found)


def _most_against_q(p_a: float, ratio: float, size: int) -> float:
  """The log of 1 / w at which P[w is below] is p_A, and a little more than it."""
  share = p_a + 1e-4 * (1.0 - p_a)
  square = special.chdtri(size, share if ratio < 1.0 else 1.0 - share)
  return 0.5 * (ratio**-2 - 1.0) * float(square - size)


def _least(
  radius: float, p_a: float, q_a: float, ratio: float, size: int, sign: float
) -> float:
  """The dual's value at nearly the best multipliers; that of any is a lower bound."""

  def at(angle, of=0, target=p_a):
    def excess(log_scale):
      return _probabilities(angle, log_scale, radius, ratio, size)[of] - target

    low = high = radius * float(special.ndtri(p_a))
    step = 1.0
    while excess(low) > 0.0:
      low, step = low - step, 2.0 * step
    step = 1.0
    while excess(high) <= 0.0:
      high, step = high + step, 2.0 * step
      if step > 1e3:  # All of the mass that this angle gives, but for rounding.
        return high
    return optimize.brentq(excess, low, high, xtol=1e-9)

  def excess(log_tan):
    angle = sign * np.arctan(np.exp(log_tan))
    return sign * (_probabilities(angle, at(angle), radius, ratio, size)[1] - q_a)

  low, high = -40.0, 40.0 if sign > 0.0 else _most_against_q(p_a, ratio, size)
  if excess(high) > 0.0:
    log_tan = low
    if excess(low) < 0.0:
      log_tan = optimize.brentq(excess, low, high, xtol=1e-8)
    angle = sign * np.arctan(np.exp(log_tan))
    log_scale = at(angle)
  else:  # So much of Q that P's bound is no constraint.
    angle = 0.5 * np.pi if sign > 0.0 else -np.arctan(np.exp(high))
    log_scale = at(angle, 1, q_a) if sign > 0.0 else at(angle)
  under_p, under_q, shifted = _probabilities(angle, log_scale, radius, ratio, size)
  # lambda_1 and lambda_2, for densities of their own norms.
  scale = np.exp(min(log_scale - 0.5 * radius**2, 600.0))
  log_of_w = size * np.log(ratio) + 0.5 * (ratio**-2 - 1.0) * size
  first, second = scale * np.cos(angle), scale * np.sin(angle) * np.exp(log_of_w)
  return shifted + first * (p_a - under_p) + second * (q_a - under_q)


def scaled_radius(
  p_lower: float, q_lower: float, ratio: float, size: int, q_upper: float = 1.0
) -> float:
  """The radius, given p_A >= p_lower, and q_A in [q_lower, q_upper] under N(0, ratio^2 I).

  Args:
    p_lower: lower bound of p_A under P; 0 is returned up to 1/2.
    q_lower: lower bound of q_A under Q.
    ratio: Q's standard deviation over P's, not 1.
    size: d, at least 2.
    q_upper: upper bound of q_A.
  """
  if p_lower <= 0.5:
    return 0.0
  ordinary = float(special.ndtri(p_lower))
  known = half_space(p_lower, ratio)
  worst = float(np.clip(known, min(q_lower, 1.0 - 1e-9), q_upper))
  if abs(worst - known) < 1e-9:
    return ordinary
  sign = np.sign(worst - known)
  found = largest(
    lambda radius: _least(radius, p_lower, worst, ratio, size, sign), ordinary
  )
  return max(found, ordinary)


def largest(least: Callable[[float], float], low: float = 1e-3) -> float:
  """The largest radius at which a falling probability is at least 1/2, from below."""
  if least(low) < 0.5:
    return 0.0
  high = low + 0.25
  while high < _FARTHEST and least(high) >= 0.5:
    low, high = high, high + 2.0 * (high - low)
  if high >= _FARTHEST:
    return low
  found = optimize.brentq(lambda radius: least(radius) - 0.5, low, high, xtol=_STEP)
  return max(low, float(found) - _STEP)
