"""The one classifier whose smoothed version has a radius in closed form, for tests."""

import jax.numpy as jnp
import numpy as np

WEIGHTS, BIAS = np.array([3.0, 4.0], np.float32), np.float32(-3.5)  # |w| = 5.
PARAMS = WEIGHTS, BIAS


def apply(params, images):
  """f(x) = 1 if w.x + b > 0 else 0, as logits of two classes."""
  weights, bias = params
  score = images.reshape(images.shape[0], -1) @ weights + bias
  return jnp.stack([-score, score], axis=-1)


def images(distances):
  """2x1x1 images at signed distances from w.x + b = 0, on the line through 1/2, 1/2."""
  unit = (WEIGHTS / 5.0).astype(np.float64)
  points = 0.5 + np.asarray(distances)[:, None] * unit[None]
  return points.reshape(-1, 2, 1, 1).astype(np.float32)
