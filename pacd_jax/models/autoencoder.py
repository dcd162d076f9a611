"""The two networks of a small variational autoencoder, by flax.linen."""

from collections.abc import Callable
from typing import NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import types


class Autoencoder(NamedTuple):
  """An encoder and a decoder as pure functions of their parameters."""

  init: Callable[[types.Key], types.Params]  # The key is consumed.
  # `encode(params, images)`: mean and log standard deviation of latents, `[B, d]` each.
  encode: Callable[[types.Params, types.Array], tuple[types.Array, types.Array]]
  # `decode(params, latents)`: images `[B, H, W, C]` in (0, 1).
  decode: Callable[[types.Params, types.Array], types.Array]


class _Encoder(nn.Module):
  """Two layers of ReLU, then mean and log standard deviation."""

  width: int
  latent_dimension: int

  @nn.compact
  def __call__(self, images):
    x = images.reshape(len(images), -1)
    for _ in range(2):
      x = nn.relu(nn.Dense(self.width)(x))
    mean = nn.Dense(self.latent_dimension)(x)
    return mean, nn.Dense(self.latent_dimension)(x)


class _Decoder(nn.Module):
  """Two layers of ReLU, then pixels through a sigmoid."""

  width: int
  image_shape: tuple[int, int, int]

  @nn.compact
  def __call__(self, latents):
    x = latents
    for _ in range(2):
      x = nn.relu(nn.Dense(self.width)(x))
    pixels = nn.sigmoid(nn.Dense(int(np.prod(self.image_shape)))(x))
    return pixels.reshape(-1, *self.image_shape)


def autoencoder(
  image_shape: tuple[int, int, int], *, latent_dimension: int, width: int
) -> Autoencoder:
  """Dense networks with two hidden layers each, as of Kingma and Welling (2014).

  https://arxiv.org/abs/1312.6114, appendix C, which has one.

  Args:
    image_shape: `(H, W, C)`.
    latent_dimension: d, at least 1.
    width: of the hidden layers, at least 1.
  """
  encoder = _Encoder(width, latent_dimension)
  decoder = _Decoder(width, image_shape)

  def init(key):
    encoder_key, decoder_key = jax.random.split(key)
    images = jnp.zeros((1, *image_shape), jnp.float32)
    latents = jnp.zeros((1, latent_dimension), jnp.float32)
    return encoder.init(encoder_key, images), decoder.init(decoder_key, latents)

  def encode(params, images):
    return cast(tuple[types.Array, types.Array], encoder.apply(params[0], images))

  def decode(params, latents):
    return cast(types.Array, decoder.apply(params[1], latents))

  return Autoencoder(init, encode, decode)
