"""The noises that `double_sampling` draws votes under: P, and the candidates of Q.

Each draws the norms of its noise, in sigma, from uniform numbers; the direction is uniform.
Of a P, `ordinary` is the radius by p_A alone. Of a Q, `radius` is that by an interval of
q_A, too, and `least_favourable` the q_A of the classifier that p_A certifies least for.
"""

import dataclasses
from typing import Any

import numpy as np
import scipy.special as special

from pacd_jax.bench import double_sampling_ball as ball
from pacd_jax.bench import double_sampling_bounds as bounds


@dataclasses.dataclass(frozen=True)
class Gaussian:
  """N(0, ratio^2 I): P for ratio 1."""

  size: int
  ratio: float = 1.0

  def __str__(self) -> str:
    return f"N(0, {self.ratio:g}^2)"

  def norms(self, uniform: np.ndarray) -> np.ndarray:
    return self.ratio * np.sqrt(special.chdtri(self.size, 1.0 - uniform))

  def ordinary(self, p_lower: float) -> float:
    return max(0.0, float(special.ndtri(p_lower)))

  def least_favourable(self, p_a: float) -> float:
    return bounds.half_space(p_a, self.ratio)

  def radius(self, p_lower: float, q_lower: float, q_upper: float) -> float:
    return bounds.scaled_radius(p_lower, q_lower, self.ratio, self.size, q_upper)


@dataclasses.dataclass(frozen=True)
class Generalised:
  """The generalised Gaussian, as P."""

  noise: ball.Noise

  def __str__(self) -> str:
    return f"generalised Gaussian, {self.noise.degrees:g} degrees"

  def norms(self, uniform: np.ndarray) -> np.ndarray:
    return np.sqrt(self.noise.squares(uniform))

  def ordinary(self, p_lower: float) -> float:
    return ball.radius(self.noise, p_lower)


@dataclasses.dataclass(frozen=True)
class Ball:
  """P, truncated to the ball that has this share of it."""

  noise: ball.Noise
  share: float

  def __str__(self) -> str:
    return f"ball of {self.share:g}"

  def norms(self, uniform: np.ndarray) -> np.ndarray:
    return np.sqrt(self.noise.squares(self.share * uniform))

  def least_favourable(self, p_a: float) -> float:
    return ball.worst_in_ball(self.noise, p_a, self.share)

  def radius(self, p_lower: float, q_lower: float, q_upper: float) -> float:
    return ball.radius(self.noise, p_lower, self.share, q_lower, q_upper)


def second_noises(first: Gaussian | Generalised, size: int) -> tuple[Any, ...]:
  """The candidates of Q. The norm of N(0, I) has a relative spread of 1 / sqrt(2 d)."""
  if isinstance(first, Generalised):
    return Ball(first.noise, 0.5), Ball(first.noise, 0.8)
  of_first = ball.Noise(size, float(size))
  ratios = [round(float(np.exp(k / np.sqrt(2.0 * size))), 3) for k in (-1, 1, 2)]
  gaussians = (Gaussian(size, ratio) for ratio in ratios)
  return (*gaussians, Ball(of_first, 0.5), Ball(of_first, 0.8))
