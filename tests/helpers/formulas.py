"""Parts of the papers' formulas in float64 NumPy and SciPy, on a linear classifier."""

import jax
import numpy as np
from scipy import special

SIGMA = 0.5
IMAGES = jax.random.uniform(jax.random.key(0), (6, 3, 3, 1))
LABELS = np.array([0, 1, 2, 2, 1, 0])
_SHAPE = (9, 3)  # Of the classifier's parameters.


def apply(params, images):
  return images.reshape(images.shape[0], -1) @ params


def params(scale):
  """Of the classifier, `[9, 3]`: the larger, the surer it is."""
  return scale * jax.random.normal(jax.random.key(1), _SHAPE)


def logits64(params, images):
  images = np.asarray(images, np.float64)
  return images.reshape(*images.shape[:-3], -1) @ np.asarray(params, np.float64)


def of_label(values):
  return np.take_along_axis(values, LABELS[:, None], axis=-1)[:, 0]


def others(values):
  """`values` without the label's, `[B, K - 1]`."""
  return np.stack([np.delete(v, y) for v, y in zip(values, LABELS, strict=True)])


def differences(function, x, step=1e-5):
  """The gradient of a float64 function by central differences."""
  x = np.asarray(x, np.float64)
  gradient = np.zeros_like(x)
  for at in np.ndindex(x.shape):
    up, down = x.copy(), x.copy()
    up[at] += step
    down[at] -= step
    gradient[at] = (function(up) - function(down)) / (2 * step)
  return gradient


def smoothed_cross_entropy(logits):
  """-log mean_j softmax(logits_j)_y: `[k, B, K]` -> `[B]`."""
  log_probs = special.log_softmax(logits, axis=-1)
  return -of_label(special.logsumexp(log_probs, axis=0) - np.log(len(logits)))


def assert_close(actual, expected):
  """To 1e-5 of the largest entry."""
  expected = np.asarray(expected)
  np.testing.assert_allclose(
    actual, expected, atol=1e-5 * np.abs(expected).max(), rtol=1e-5
  )
