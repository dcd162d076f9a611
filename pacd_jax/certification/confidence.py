"""The statistics of a certificate, from votes to radii: float64 SciPy on the host."""

import math

import numpy as np
import scipy.special  # scipy.stats takes a second to import.

from pacd_jax.types import Certificate

BOUND = "clopper_pearson_one_sided"
_TAIL_ROUNDING = 1e-6  # Relative: what the bound's rounding may do to its tail.


def clopper_pearson_lower(count, n, alpha) -> np.float64 | np.ndarray:
  """Lower confidence bound of a binomial proportion, exact and one-sided.

  The p with P[Binomial(n, p) >= count] = alpha, which is the alpha-quantile of
  Beta(count, n - count + 1), and 0 if count = 0. It exceeds the true proportion with
  probability at most alpha. Clopper and Pearson (1934), Biometrika 26(4).

  Args:
    count: successes in [0, n], an int or an array; floats are allowed, as for expectations.
    n: trials, likewise.
    alpha: probability in (0, 1) that the bound fails, likewise.

  Returns:
    float64 in [0, 1), of the arguments' common shape.
  """
  count, n, alpha = np.asarray(count), np.asarray(n), np.asarray(alpha)
  if not np.all((count >= 0) & (count <= n) & (alpha > 0.0) & (alpha < 1.0)):
    raise ValueError(f"count {count}, n {n} or alpha {alpha} is out of range")
  a, b = np.maximum(count, 1), n - count + 1
  bound = scipy.special.betaincinv(a, b, alpha)
  # SciPy gives up on tails of 1e-200 or so: the bound has to have the tail that it claims.
  fails = ~(scipy.special.betainc(a, b, bound) <= alpha * (1.0 + _TAIL_ROUNDING))
  if fails.any():
    bound = np.where(fails, _bisected(a, b, alpha), bound)
  return np.where(count > 0, bound, 0.0)[()]


def _bisected(a: np.ndarray, b: np.ndarray, alpha: np.ndarray) -> np.ndarray:
  """The alpha-quantile of Beta(a, b) from below: its tail is at most alpha."""
  low = np.zeros(np.broadcast_shapes(a.shape, b.shape, alpha.shape))
  high = np.ones_like(low)
  for _ in range(1100):  # From 1 to the smallest float by halving, and then to its bits.
    middle = 0.5 * (low + high)
    fits = scipy.special.betainc(a, b, middle) <= alpha
    low, high = np.where(fits, middle, low), np.where(fits, high, middle)
  return low


def radius(count, n, *, sigma: float, alpha) -> np.float64 | np.ndarray:
  """R = sigma * Phi^-1(p_A), with p_A the lower bound from `count` of `n` votes.

  Args are those of `clopper_pearson_lower`; `sigma` is the standard deviation of the noise.

  Returns:
    float64 in the units of sigma: negative where p_A is under 1/2, -inf for a count of 0.
  """
  return sigma * scipy.special.ndtri(clopper_pearson_lower(count, n, alpha))


def certificate(
  counts0: np.ndarray, counts: np.ndarray, *, sigma: float, alpha: float
) -> Certificate:
  """The certificate that two independent sets of votes support.

  c = argmax_k counts0_k;  p_A = the lower bound of P[f(x + e) = c] from counts_c;
  R = sigma * Phi^-1(p_A) if p_A >= 1/2, otherwise the certificate abstains (-1, R = 0).

  Args:
    counts0: int `[K]`, votes of the n0 samples that choose the class.
    counts: int `[K]`, votes of the n samples that bound its probability.
    sigma: standard deviation of the noise, in the units of the images ([0, 1]).
    alpha: probability in (0, 1) that the certificate is wrong.
  """
  counts0, counts = np.asarray(counts0), np.asarray(counts, np.int64)
  if counts0.shape != counts.shape or counts.ndim != 1:
    raise ValueError(f"votes of shapes {counts0.shape} and {counts.shape}")
  top = int(np.argmax(counts0))
  certified = float(radius(counts[top], counts.sum(), sigma=sigma, alpha=alpha))
  if certified < 0.0:  # p_A is under 1/2.
    return Certificate(prediction=-1, radius=0.0, counts=counts)
  return Certificate(prediction=top, radius=certified, counts=counts)


def largest_radius(sigma: float, n: int, alpha: float) -> float:
  """The radius of n unanimous votes: sigma * Phi^-1(alpha^(1/n)), in image units.

  No radius from n votes is larger; 0 if even unanimous votes cannot certify.
  """
  return max(0.0, float(sigma * scipy.special.ndtri(alpha ** (1.0 / n))))


def can_certify(n: int, alpha: float) -> bool:
  """Whether n unanimous votes certify a radius above 0: alpha^(1/n) > 1/2."""
  return alpha ** (1.0 / n) > 0.5


def least_votes(alpha: float) -> int:
  """The least n that can certify: the smallest integer above log2(1 / alpha)."""
  return math.floor(-math.log2(alpha)) + 1
