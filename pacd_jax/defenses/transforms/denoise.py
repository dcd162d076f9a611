"""Denoising by a small network that is trained on trusted images."""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import types
from pacd_jax.data import arrays
from pacd_jax.defenses.transforms import forms
from pacd_jax.models import denoiser

_MOST_TESTED = 1000  # Images that `noise_left` is of.


class Settings(NamedTuple):
  """The settings of a denoiser and of its training."""

  noise: float = 0.25  # Largest standard deviation of the noise, image units.
  num_layers: int = 4  # Convolutions.
  width: int = 16  # Their channels.
  num_steps: int = 400  # Of Adam.
  batch_size: int = 64  # At most; fewer where there are fewer images.
  learning_rate: float = 3e-3  # Adam's first; it falls to 0 as a cosine.


def of_training_set(settings: Settings) -> types.DefenceFn:
  """The defence of training images by a denoiser of the validation images.

  The report's values have `noise_left`: its mean squared error on trusted images under the
  noise that it is trained for, over the noise's variance; 1 for a denoiser that does
  nothing. It is trained once for a key, since all rows of a run have the same.
  """
  made: dict[bytes, tuple[types.TransformFn, float]] = {}

  def make(key, images):
    train_key, test_key = jax.random.split(key)
    params = train(images, train_key, settings)
    left = noise_left(params, images, test_key, settings)
    return functools.partial(denoise, params=params, settings=settings), left

  def defence(training_set, key, tools):
    name = np.asarray(jax.random.key_data(key)).tobytes()
    if name not in made:
      made[name] = make(key, tools.validation.images)
    denoised, left = made[name]
    return forms.changed(
      training_set,
      lambda images: forms.on_uint8(denoised, images),
      {"noise_left": left},
    )

  return defence


def denoise(images: types.Array, params: types.Params, settings: Settings) -> types.Array:
  """Images minus the noise that the network sees in them; a `types.TransformFn`.

  DnCNN, Zhang et al. (2017), https://arxiv.org/abs/1608.03981, with few layers and without
  norm layers. In front of a classifier that is certified it is denoised smoothing, Salman
  et al. (2020), https://arxiv.org/abs/2003.01908, though here the classifier is trained on
  what the denoiser leaves. It is differentiable, and does not clip.

  Args:
    images: float32 `[B, H, W, C]`.
    params: parameters of `train`.
    settings: those that they were trained with.
  """
  chex.assert_rank(images, 4)
  network = denoiser.denoiser(num_layers=settings.num_layers, width=settings.width)
  return network.apply(params, images)


def train(images: np.ndarray, key: types.Key, settings: Settings) -> types.Params:
  """Trains a denoiser: the least mean squared error under Gaussian noise of any strength.

    min E |D(x + s eta) - x|^2,  eta ~ N(0, I),  s ~ U(0, noise)

  Args:
    images: uint8 `[n, H, W, C]`, trusted.
    key: consumed.
    settings: the network and its training.
  """
  chex.assert_rank(images, 4)
  network = denoiser.denoiser(num_layers=settings.num_layers, width=settings.width)
  rate = optax.cosine_decay_schedule(settings.learning_rate, settings.num_steps)
  optimizer = optax.adam(rate)
  batch_size = min(settings.batch_size, len(images))

  def loss(params, clean, key):
    strength_key, noise_key = jax.random.split(key)
    strength = jax.random.uniform(strength_key, (len(clean), 1, 1, 1), jnp.float32)
    noise = (
      settings.noise * strength * jax.random.normal(noise_key, clean.shape, jnp.float32)
    )
    return jnp.mean((network.apply(params, clean + noise) - clean) ** 2)

  def step(number, carry):
    params, state, key, stored = carry
    batch_key, loss_key = jax.random.split(jax.random.fold_in(key, number))
    rows = jax.random.randint(batch_key, (batch_size,), 0, len(stored))
    gradient = jax.grad(loss)(params, arrays.to_float(stored[rows]), loss_key)
    updates, state = optimizer.update(gradient, state, params)
    return optax.apply_updates(params, updates), state, key, stored

  @jax.jit
  def run(key, stored):
    init_key, key = jax.random.split(key)
    params = network.init(init_key, stored.shape[1:])
    carry = params, optimizer.init(params), key, stored
    return jax.lax.fori_loop(0, settings.num_steps, step, carry)[0]

  with jax.default_matmul_precision("highest"):  # The same wherever it is first needed.
    return run(key, jnp.asarray(images))


def noise_left(
  params: types.Params, images: np.ndarray, key: types.Key, settings: Settings
) -> float:
  """E |D(x + s eta) - x|^2 / (s^2 d) at s = noise, on the first 1,000 images.

  Images are uint8 `[n, H, W, C]`, and the key is consumed.
  """
  clean = jnp.asarray(arrays.to_float(images[:_MOST_TESTED]))
  noisy = clean + settings.noise * jax.random.normal(key, clean.shape, jnp.float32)
  error = jnp.mean((denoise(noisy, params, settings) - clean) ** 2)
  return float(error) / settings.noise**2
