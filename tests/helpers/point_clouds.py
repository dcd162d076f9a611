"""Points around a centre for each class, and what changes no distance between them."""

import numpy as np

from pacd_jax import types
from pacd_jax.data import training_sets


def clouds(sizes=(30, 25, 35), dims=6, seed=0):
  """Gaussian points float32 `[n, dims]` around a centre for each class, and labels."""
  rng = np.random.default_rng(seed)
  labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int32)
  centres = 3.0 * rng.standard_normal((len(sizes), dims))
  points = centres[labels] + rng.standard_normal((len(labels), dims))
  return points.astype(np.float32), labels


def rotated(points, seed=1):
  """The points turned by a random rotation."""
  rng = np.random.default_rng(seed)
  size = points.shape[1]
  turn = np.linalg.qr(rng.standard_normal((size, size)))[0]
  return points @ turn.astype(points.dtype)


def moved(points, by=20.0):
  """The points rotated and moved as a whole."""
  return rotated(points) + points.dtype.type(by)


def images(sizes=(30, 25, 35), seed=0):
  """A training set of random 2x3 images, its last image of each class not present."""
  rng = np.random.default_rng(seed)
  labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int32)
  pixels = rng.integers(0, 256, (len(labels), 2, 3, 1), np.uint8)
  whole = training_sets.whole(types.Dataset(pixels, labels))
  last = [np.flatnonzero(labels == label)[-1] for label in range(len(sizes))]
  return training_sets.keep(whole, np.setdiff1d(whole.present, last))


def tools(validation=None, model=None, train=None, num_classes=3):
  """Tools of a defence, as far as it needs them."""
  if validation is None:
    validation = training_sets.to_dataset(images(seed=5))
  return types.Tools(model, train, validation, num_classes)
