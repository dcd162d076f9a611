"""The corruptions of Zhang et al. (2017), by which they ask what a network memorises.

"Understanding deep learning requires rethinking generalization",
https://arxiv.org/abs/1611.03530, section 2.1. Each is drawn once: a data set whose labels
are drawn anew in every epoch cannot be fitted.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import types


def labels(
  given: np.ndarray, key: types.Key, *, share: float, num_classes: int
) -> np.ndarray:
  """Each label is replaced, with probability p, by a uniform draw of all classes.

  A drawn label may be the true one, so that a share p (K - 1) / K of labels is wrong; at
  p = 1 labels say nothing about images.

  Args:
    given: int `[n]` in [0, K).
    key: consumed.
    share: p, in [0, 1].
    num_classes: K.

  Returns:
    int32 `[n]`.
  """
  chosen_key, drawn_key = jax.random.split(key)
  chosen = jax.random.uniform(chosen_key, (len(given),), jnp.float32) < share
  drawn = jax.random.randint(drawn_key, (len(given),), 0, num_classes)
  return np.where(np.asarray(chosen), np.asarray(drawn), given).astype(np.int32)


def shuffled_pixels(images: np.ndarray, key: types.Key) -> np.ndarray:
  """The same permutation of the pixels for every image; the key is consumed.

  A pixel's channels stay together. Test images need the same key.

  Args:
    images: `[n, H, W, C]`, of any type.
  """
  chex.assert_rank(images, 4)
  flat = images.reshape(len(images), -1, images.shape[-1])
  order = np.asarray(jax.random.permutation(key, flat.shape[1]))
  return flat[:, order].reshape(images.shape)


def random_pixels(images: np.ndarray, key: types.Key) -> np.ndarray:
  """A permutation of the pixels of its own for every image; the key is consumed.

  A pixel's channels stay together.

  Args:
    images: `[n, H, W, C]`, of any type.
  """
  chex.assert_rank(images, 4)
  flat = images.reshape(len(images), -1, images.shape[-1])
  keys = jax.random.split(key, len(images))
  orders = jax.vmap(lambda key: jax.random.permutation(key, flat.shape[1]))(keys)
  taken = np.take_along_axis(flat, np.asarray(orders)[:, :, None], axis=1)
  return taken.reshape(images.shape)


def gaussian_images(images: np.ndarray, key: types.Key) -> np.ndarray:
  """Gaussian noise in place of the images, of their mean and variance; key consumed.

  Mean and variance are of all pixels of a channel. The noise is cut to [0, 1], where images
  are, so that its own mean and variance differ a little.

  Args:
    images: float `[n, H, W, C]` in [0, 1].

  Returns:
    float32 `[n, H, W, C]` in [0, 1].
  """
  chex.assert_rank(images, 4)
  mean, std = images.mean(axis=(0, 1, 2)), images.std(axis=(0, 1, 2))
  drawn = np.asarray(jax.random.normal(key, images.shape, jnp.float32))
  return np.clip(mean + std * drawn, 0.0, 1.0).astype(np.float32)
