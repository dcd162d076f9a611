"""The manifold of a small variational autoencoder (VAE), and its training."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import errors, types
from pacd_jax.data import arrays, batches
from pacd_jax.manifolds.manifold import Manifold, check_dimension
from pacd_jax.models import autoencoder


class Settings(NamedTuple):
  """The settings of a VAE and of its training."""

  latent_dimension: int = 16  # d.
  width: int = 256  # Of the hidden layers.
  noise: float = 0.1  # s: standard deviation of a pixel around the decoder's, image units.
  num_epochs: int = 200
  batch_size: int = 64  # At most; fewer where there are fewer images.
  learning_rate: float = 1e-3  # Adam's first; it falls to 0 as a cosine.


def divergence(mean: types.Array, log_deviation: types.Array) -> types.Array:
  """KL(N(m, diag(s^2)) | N(0, I)) of each posterior, `[B, d]` -> `[B]`.

    (1/2) sum_i m_i^2 + s_i^2 - 1 - 2 log s_i

  Appendix B of Kingma and Welling (2014), https://arxiv.org/abs/1312.6114.
  """
  chex.assert_rank([mean, log_deviation], 2)
  square = mean**2 + jnp.exp(2.0 * log_deviation)
  return 0.5 * jnp.sum(square - 1.0 - 2.0 * log_deviation, axis=1)


def elbo(
  encode: Callable[[types.Array], tuple[types.Array, types.Array]],
  decode: Callable[[types.Array], types.Array],
  images: types.Array,
  key: types.Key,
  *,
  noise: float,
) -> types.Array:
  """The evidence lower bound of log p(x), by one draw of each posterior, `[B]`, in nats.

    log N(x; G(z), noise^2 I) - KL(q(z | x) | N(0, I)),
    z = m(x) + s(x) eta,  eta ~ N(0, I)

  Eq. (10) of Kingma and Welling (2014), https://arxiv.org/abs/1312.6114, with Gaussian
  pixels. In expectation it is at most log p(x), and log p(x) if q is the true posterior.

  Args:
    encode: m(x) and log s(x), `[B, d]` each.
    decode: G, latents `[B, d]` to images.
    images: x, float32 `[B, H, W, C]`.
    key: consumed.
    noise: standard deviation of a pixel, above 0.
  """
  chex.assert_rank(images, 4)
  mean, log_deviation = encode(images)
  eta = jax.random.normal(key, mean.shape, jnp.float32)
  left = (images - decode(mean + jnp.exp(log_deviation) * eta)) / noise
  constant = math.log(2.0 * math.pi * noise**2)
  log_likelihood = -0.5 * jnp.sum(left**2 + constant, axis=(1, 2, 3))
  return log_likelihood - divergence(mean, log_deviation)


def train(
  images: np.ndarray,
  key: types.Key,
  settings: Settings,
  report: Callable[[int, float], None] = lambda epoch, loss: None,
) -> types.Params:
  """Trains a VAE by Adam on minus the mean ELBO of a pixel.

  Args:
    images: uint8 `[n, H, W, C]`.
    key: consumed.
    settings: the networks and their training.
    report: called with the number of epochs done and the last one's mean loss.

  Raises:
    errors.NonFiniteError: a loss is not finite.
  """
  chex.assert_rank(images, 4)
  network = _network(images.shape[1:], settings)
  batch_size = min(settings.batch_size, len(images))
  steps = len(images) // batch_size
  rate = optax.cosine_decay_schedule(settings.learning_rate, settings.num_epochs * steps)
  optimizer = optax.adam(rate)

  def loss(params, clean, key):
    found = elbo(
      functools.partial(network.encode, params),
      functools.partial(network.decode, params),
      clean,
      key,
      noise=settings.noise,
    )
    return -found.mean() / clean[0].size

  @jax.jit
  def epoch(state, key, number, stored):
    order_key, noise_key = jax.random.split(key)

    def step(place, carry):
      params, opt_state, total = carry
      step_number = number * steps + place
      rows = batches.batch_indices(
        order_key, step_number, num_examples=len(stored), batch_size=batch_size
      )
      value, gradient = jax.value_and_grad(loss)(
        params, arrays.to_float(stored[rows]), jax.random.fold_in(noise_key, step_number)
      )
      updates, opt_state = optimizer.update(gradient, opt_state, params)
      return optax.apply_updates(params, updates), opt_state, total + value

    first = (*state, jnp.float32(0.0))
    *state, total = jax.lax.fori_loop(0, steps, step, first)
    return tuple(state), total / steps

  with jax.default_matmul_precision("highest"):  # The same wherever it is first needed.
    init_key, key = jax.random.split(key)
    params = network.init(init_key)
    state, stored = (params, optimizer.init(params)), jnp.asarray(images)
    for number in range(settings.num_epochs):
      state, value = epoch(state, jax.random.clone(key), number, stored)
      if not math.isfinite(value := float(value)):
        raise errors.NonFiniteError(
          f"the loss of the VAE is {value} in epoch {number + 1}: use a lower "
          "learning_rate, or more noise"
        )
      report(number + 1, value)
  return state[0]


def fit(
  images: np.ndarray,
  key: types.Key,
  settings: Settings,
  report: Callable[[int, float], None] = lambda epoch, loss: None,
) -> Manifold:
  """Trains a VAE; its manifold's E is the posterior's mean, and G the decoder.

  A latent's unit is the prior's standard deviation. What G gives is in (0, 1), and E(G(z))
  is z only nearly.

  Args:
    images: uint8 `[n, H, W, C]`.
    key: consumed.
    settings: the VAE; its latent dimension is at most the rank of the centred images.
    report: as for `train`.

  Raises:
    errors.InputError: the latent dimension is under 1 or above the rank.
    errors.NonFiniteError: a loss is not finite.
  """
  check_dimension(images, settings.latent_dimension)
  network = _network(images.shape[1:], settings)
  params = train(images, key, settings, report)
  return Manifold(
    lambda images: network.encode(params, images)[0],
    lambda latents: network.decode(params, latents),
    settings.latent_dimension,
  )


def _network(image_shape, settings: Settings) -> autoencoder.Autoencoder:
  return autoencoder.autoencoder(
    tuple(image_shape), latent_dimension=settings.latent_dimension, width=settings.width
  )
