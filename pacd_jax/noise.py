"""Gaussian noise, with one key per batch or per image, and logits of noisy copies."""

import chex
import jax
import jax.numpy as jnp

from pacd_jax import types

CHOICES = ("fresh", "fixed")


def of_images(key: types.Key, indices: types.Array) -> types.Key:
  """Per-image keys `[B]`, which give an image the same noise wherever it is used.

  With these keys the noise is fixed, as the authors of PACD trained MACER and SmoothAdv;
  with one key `[]` per step it is fresh.

  Args:
    key: key of the stream; folded, not consumed.
    indices: int `[B]`: positions in the data set of the batch's images.
  """
  return jax.vmap(lambda index: jax.random.fold_in(key, index))(indices)


def draw(
  key: types.Key | types.Drawn, num_samples: int, images: types.Array
) -> types.Array:
  """Standard normal noise `[num_samples, B, H, W, C]` for images `[B, H, W, C]`.

  Args:
    key: consumed; `[]`, or `[B]` with one key per image; or the noise itself.
    num_samples: draws per image.
    images: the images; they give the shape and dtype.
  """
  chex.assert_rank(images, 4)
  if isinstance(key, types.Drawn):
    chex.assert_shape(key.noise, (num_samples, *images.shape))
    return key.noise
  if not key.shape:
    return jax.random.normal(key, (num_samples, *images.shape), images.dtype)
  shape = num_samples, *images.shape[1:]
  of_each = jax.vmap(lambda k: jax.random.normal(k, shape, images.dtype))(key)
  return jnp.moveaxis(of_each, 1, 0)


def noisy_logits(
  apply: types.ApplyFn,
  params: types.Params,
  images: types.Array,
  key: types.Key | types.Drawn,
  *,
  sigma: float | types.Array,
  num_samples: int,
) -> types.Array:
  """Logits of k noisy copies of each image: logits(x + sigma eta_j), eta_j ~ N(0, I).

  Args:
    apply: base classifier.
    params: its parameters.
    images: `[B, H, W, C]`.
    key: as `draw`'s.
    sigma: noise standard deviation in image units.
    num_samples: k.

  Returns:
    `[k, B, K]`.
  """
  chex.assert_rank(images, 4)
  noisy = images[None] + sigma * draw(key, num_samples, images)
  logits = apply(params, noisy.reshape(-1, *images.shape[1:]))
  return logits.reshape(num_samples, len(images), -1)
