"""Features with closed forms, a small network and images, for tests of targeted attacks."""

import functools

import jax
import numpy as np

from pacd_jax.experiment.entries import networks

SHAPE = (4, 4, 1)


@functools.cache
def images(number, seed=0):
  """float32 `[number, 4, 4, 1]` in [0.2, 0.8]."""
  rng = np.random.default_rng(seed)
  return rng.uniform(0.2, 0.8, (number, *SHAPE)).astype(np.float32)


def linear(matrix, images):
  """Features x'A."""
  return images.reshape(len(images), -1) @ matrix


@functools.cache
def matrix():
  """A: 16 pixels to 5 features, with singular values apart from each other."""
  rng = np.random.default_rng(1)
  left, right = (np.linalg.qr(rng.normal(size=(n, 5)))[0] for n in (16, 5))
  return (left * np.array([3.0, 2.0, 1.5, 1.0, 0.5]) @ right).astype(np.float32)


def largest():
  """The square of its largest singular value."""
  return 9.0


@functools.cache
def network():
  """Features of an untrained network with two hidden layers, and its parameters."""
  model = networks.make("mlp", num_classes=3, image_shape=SHAPE)
  assert model.features is not None
  return model.features, model.init(jax.random.key(0), SHAPE)


def check_budget(test, images, base, epsilon, norm):
  """Images are float32 in the box, and at most the budget from their base images."""
  test.assertEqual((images.dtype, images.shape), (np.float32, base.shape))
  test.assertTrue(np.all((images >= 0) & (images <= 1)))
  delta = np.reshape(images - base, (len(base), -1))
  largest = np.linalg.norm(delta, {"linf": np.inf, "l2": 2}[norm], axis=1).max()
  test.assertLessEqual(largest, epsilon + 1e-5)
  test.assertGreater(largest, 0.1 * epsilon)
