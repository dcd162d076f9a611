"""Two classes of points in one dimension, of any distribution, for tests."""

import numpy as np

_DRAWS = (
  lambda rng, n: rng.normal(size=n),
  lambda rng, n: rng.uniform(-1.0, 1.0, n),
  lambda rng, n: rng.exponential(size=n),
  lambda rng, n: rng.standard_t(2, size=n),  # Of infinite variance.
  lambda rng, n: rng.choice([-1.0, 1.0], n) + 0.1 * rng.normal(size=n),
  lambda rng, n: rng.integers(0, 2, n).astype(float),
)


def sample(rng, num_points):
  """Points of any of six distributions, at any place and scale."""
  draw = _DRAWS[rng.integers(len(_DRAWS))]
  return rng.normal() + np.exp(rng.normal()) * draw(rng, num_points)


def classes(seed, sizes=None):
  """(positive, negative) of different means; by default, of one random size."""
  rng = np.random.default_rng(seed)
  sizes = sizes or 2 * (int(rng.integers(1, 31)),)
  positive, negative = sample(rng, sizes[0]), sample(rng, sizes[1])
  while abs(positive.mean() - negative.mean()) < 1e-6:  # As points of 0 and 1 may.
    positive = positive + rng.normal()
  return positive, negative, rng
