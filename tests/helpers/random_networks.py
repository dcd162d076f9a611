"""Small networks of random layers, and points of balls, for tests of bounds."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax.bounds import layers

SHAPE = (6, 6, 2)  # Of their images.
NUM_CLASSES = 3
KINDS = ("dense", "pooled", "residual", "patches")


def dense_net(seed, sizes, *, scale=1.0):
  """Dense layers of these sizes with ReLU between them."""
  generator = np.random.default_rng(seed)
  found = [layers.Flatten()]
  for inputs, outputs in itertools.pairwise(sizes):
    found += [_dense(generator, inputs, outputs, scale), layers.Relu()]
  return tuple(found[:-1])


def network(kind, seed):
  """A network of one of `KINDS`, from images of `SHAPE` to `NUM_CLASSES` logits."""
  generator = np.random.default_rng(seed)

  def conv(channels, features, size=3, stride=1, padding="SAME"):
    kernel = _normal(generator, (size, size, channels, features), size**2 * channels)
    bias = _normal(generator, (features,), 9)
    return layers.Convolution(kernel, bias, stride, padding)

  def norm(channels):
    return layers.ScaleShift(
      _normal(generator, (channels,), 1), _normal(generator, (channels,), 9)
    )

  relu, flatten = layers.Relu(), layers.Flatten()
  last = _dense(generator, 8, NUM_CLASSES, 1.0)
  if kind == "dense":
    return dense_net(seed, (72, 10, 8, NUM_CLASSES))
  if kind == "pooled":
    middle = _dense(generator, 12, 8, 1.0)
    front = conv(2, 4), layers.MaxPool(), relu, conv(4, 3, 2, padding="VALID")
    return (*front, relu, flatten, middle, relu, last)
  if kind == "residual":
    block = layers.Residual((conv(4, 4), norm(4), relu, conv(4, 4)))
    halving = layers.Residual((conv(4, 8, stride=2), relu), (conv(4, 8, 1, 2),))
    front = conv(2, 4), norm(4), relu, block, relu, halving, layers.MaxPool()
    return (*front, layers.SpaceMean(), last)
  if kind == "patches":
    front = layers.SpaceToDepth(2), conv(8, 8), relu, layers.SpaceMean()
    return (*front, _dense(generator, 8, 8, 1.0), relu, last)
  raise ValueError(kind)


def images(seed, number):
  """Images `[number, H, W, C]` in [0, 1]."""
  drawn = np.random.default_rng(seed).uniform(size=(number, *SHAPE))
  return jnp.asarray(drawn, jnp.float32)


def points(key, image, epsilon, norm, number):
  """Points of an image's ball and of [0, 1], `[number, H, W, C]`: corners, and inside."""
  signs, inside, sizes = jax.random.split(key, 3)
  shape = (number, *image.shape)
  if norm == "linf":
    corner = jnp.sign(jax.random.normal(signs, shape, jnp.float32))
    share = jax.random.uniform(inside, shape, jnp.float32, -1.0, 1.0)
    is_corner = jnp.arange(number) % 2 == 0
    step = jnp.where(is_corner[:, None, None, None], corner, share)
  else:
    step = jax.random.normal(inside, shape, jnp.float32)
    step /= jnp.sqrt((step**2).sum((1, 2, 3), keepdims=True))
    step *= jax.random.uniform(sizes, (number, 1, 1, 1), jnp.float32) ** 0.1
  return jnp.clip(image[None] + epsilon * step, 0.0, 1.0)


def _normal(generator, shape, fan_in):
  return jnp.asarray(generator.normal(size=shape) * (2.0 / fan_in) ** 0.5, jnp.float32)


def _dense(generator, inputs, outputs, scale):
  kernel = scale * _normal(generator, (inputs, outputs), inputs)
  return layers.Dense(kernel, scale * _normal(generator, (outputs,), 9))
