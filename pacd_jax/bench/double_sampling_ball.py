"""Radii of votes under a noise and in a ball of it: DSRS with the noise truncated.

The noise P has the density |x|^-(d - m) exp(-|x|^2 / (2 tau^2)), but for a factor, with
tau^2 = d / m: its squared norm is tau^2 chi^2 with m degrees, and E|x|^2 is d as of
N(0, I), which it is for m = d. Li et al. (2022), https://arxiv.org/abs/2206.07912, have
m = d - 2 k much smaller than d, and Q is P truncated to a ball. Radii are in sigma. The
worst classifier is 1, in the ball and outside of it, where

  p(x - r e_1) < lambda p(x), each with its own lambda,

and its probabilities are integrals over the norm of distribution functions of x_1 / |x|.
"""

import dataclasses
import functools
import itertools

import numpy as np
import scipy.optimize as optimize
import scipy.special as special

from pacd_jax.bench import double_sampling_bounds as bounds

_NODES = 320


@dataclasses.dataclass(frozen=True)
class Noise:
  """The distribution: d is `size`, at least 2; m is `degrees`, in (0, d]."""

  size: int
  degrees: float

  def squares(self, shares: np.ndarray) -> np.ndarray:
    """The squared norms that at most these shares of P have."""
    upper = special.chdtri(self.degrees, 1.0 - np.asarray(shares, float))
    return self.size / self.degrees * upper

  def log_density(self, square: np.ndarray) -> np.ndarray:
    """-log p, rising, by the squared norm."""
    own = 0.5 * self.degrees / self.size * square
    return own + 0.5 * (self.size - self.degrees) * np.log(square)

  def square_of(self, log_density: np.ndarray) -> np.ndarray:
    """Its inverse; 0 where there is none."""
    tau2, power = self.size / self.degrees, 0.5 * (self.size - self.degrees)
    if power == 0.0:
      return np.maximum(2.0 * tau2 * log_density, 0.0)
    scale = 2.0 * tau2 * power
    return scale * special.wrightomega(log_density / power - np.log(scale))

  def direction(self, cosine: np.ndarray) -> np.ndarray:
    """P[x_1 / |x| < cosine]."""
    half = 0.5 * (self.size - 1)
    return special.betainc(half, half, np.clip(0.5 * (1.0 + cosine), 0.0, 1.0))


@functools.cache
def _nodes(noise: Noise, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
  """Squared norms between two shares of P, and weights that sum to high - low.

  They are dense at the ends (tanh-sinh quadrature), where the ball's edge is.
  """
  ends = np.sqrt(noise.squares(np.clip([low, high], 1e-14, 1.0 - 1e-14)))
  steps = np.linspace(-3.0, 3.0, _NODES)
  points = np.tanh(0.5 * np.pi * np.sinh(steps))
  weights = np.cosh(steps) / np.cosh(0.5 * np.pi * np.sinh(steps)) ** 2
  norm = ends[0] + 0.5 * (ends[1] - ends[0]) * (points + 1.0)
  of_chi2 = norm**2 * noise.degrees / noise.size
  log_weight = (0.5 * noise.degrees - 1.0) * np.log(of_chi2) - 0.5 * of_chi2
  weight = weights * norm * np.exp(log_weight - log_weight.max())
  return norm**2, weight * (high - low) / weight.sum()


def _pieces(noise: Noise, low: float, high: float) -> list[tuple[np.ndarray, np.ndarray]]:
  """The nodes of all of P, cut at the edge of the ball if one of the ends is it."""
  cuts = sorted({0.0, low, high, 1.0})
  return [_nodes(noise, *ends) for ends in itertools.pairwise(cuts)]


def _inside(
  noise: Noise, log_ratio: float, radius: float, low: float, high: float
) -> float:
  """P[f = 1, norm between two shares], lambda = exp(-log_ratio)."""
  square, weight = _nodes(noise, low, high)
  least = noise.square_of(noise.log_density(square) + log_ratio)  # Of |x - r e_1|^2.
  cosine = (square + radius**2 - least) / (2.0 * radius * np.sqrt(square))
  return float(weight @ noise.direction(cosine))


def _shifted(
  noise: Noise, log_ratio: float, radius: float, low: float, high: float
) -> float:
  """The same of P shifted by r e_1."""
  ends = noise.squares(np.array([low, high]))
  found = 0.0
  for square, weight in _pieces(noise, low, high):
    most = noise.square_of(noise.log_density(square) - log_ratio)  # Of |x|^2.
    upper, span = np.minimum(most, ends[1]), 2.0 * radius * np.sqrt(square)
    above, below = (
      noise.direction((end - square - radius**2) / span)
      for end in (upper, np.minimum(upper, ends[0]))
    )
    found += float(weight @ (above - below))
  return found


def _log_ratio(noise: Noise, mass: float, radius: float, low: float, high: float) -> float:
  """The log_ratio with that probability between two shares; it falls."""

  def excess(log_ratio):
    return _inside(noise, log_ratio, radius, low, high) - mass

  left, right, step = -1.0, 1.0, 1.0
  while excess(left) < 0.0 and step < 1e3:
    left, step = left - step, 2.0 * step
  step = 1.0
  while excess(right) > 0.0 and step < 1e3:
    right, step = right + step, 2.0 * step
  if excess(left) * excess(right) >= 0.0:
    return left if excess(left) <= 0.0 else right
  return optimize.brentq(excess, left, right, xtol=1e-9)


def radius(
  noise: Noise,
  p_lower: float,
  share: float = 0.5,
  q_lower: float = 0.0,
  q_upper: float = 1.0,
) -> float:
  """The radius, given p_A >= p_lower, and q_A in [q_lower, q_upper] in a ball.

  The least probability is convex in q_A, so the worst q_A is the one nearest to that of the
  classifier that p_A alone certifies least for.

  Args:
    noise: P.
    p_lower: lower bound of p_A under P; 0 is returned up to 1/2.
    share: P's probability of the ball, in (0, 1).
    q_lower: lower bound of q_A under P truncated to the ball; 0, with q_upper of 1: the
      certificate by p_A alone.
    q_upper: upper bound of q_A.
  """
  if p_lower <= 0.5:
    return 0.0
  most = max(share * q_upper, p_lower - (1.0 - share))

  def least(shift):
    ordinary = _log_ratio(noise, p_lower, shift, 0.0, 1.0)
    own = _inside(noise, ordinary, shift, 0.0, share)
    worst = min(max(own, share * q_lower), most)
    if worst == own:
      return _shifted(noise, ordinary, shift, 0.0, 1.0)
    parts = ((worst, 0.0, share), (max(p_lower - worst, 0.0), share, 1.0))
    return sum(
      _shifted(noise, _log_ratio(noise, mass, shift, *ends), shift, *ends)
      for mass, *ends in parts
    )

  return bounds.largest(least)


def worst_in_ball(noise: Noise, p_a: float, share: float) -> float:
  """q_A in the ball of the classifier that p_A alone certifies least for, at its radius."""
  shift = max(radius(noise, p_a), 1e-3)
  log_ratio = _log_ratio(noise, p_a, shift, 0.0, 1.0)
  return _inside(noise, log_ratio, shift, 0.0, share) / share
