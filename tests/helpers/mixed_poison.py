"""A poison that has all that one may have: another label, an inserted image."""

import any_poison
import numpy as np

from pacd_jax import types


def make(channels=1):
  rng = np.random.default_rng(0)
  base = rng.integers(30, 200, (5, 6, 7, channels), dtype=np.uint8)
  images = base + rng.integers(0, 20, base.shape, dtype=np.uint8)
  images[4] = base[4]  # An image without a base is its own.
  return any_poison.make(
    images,
    base,
    labels=np.array([8, 8, 3, 8, 8], np.int32),
    indices=np.array([0, 7, 3, 9, -1], np.int64),
    inserted=np.array([0, 0, 0, 0, 1], bool),
    clean_label=False,
    checksum="abc",
    triggered=np.array([0, 1, 0, 0, 1], bool),
    goal=types.Goal(3, (7, 2), '{"name": "patch", "options": {"size": 3}}'),
  )
