"""Victims trained from scratch: all data rows and all seeds in one compiled program."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import noise, types
from pacd_jax.data import arrays
from pacd_jax.models import precision
from pacd_jax.runtime import sharding

_LEVELS = arrays.to_float(np.arange(256, dtype=np.uint8))


class TrainState(NamedTuple):
  """Victims between two epochs; every leaf has the victims `V` in front."""

  epoch: types.Array  # `[V]` int32: epochs done, the same for all.
  params: types.Params
  opt_state: optax.OptState


class Trainer(NamedTuple):
  """Training as pure functions, jitted and mapped over victims."""

  # `init(keys) -> state`, keys `[V]`; folded, not consumed.
  init: Callable[[types.Key], TrainState]
  # `epoch(state, images, labels, rows, keys) -> (state, {"loss": [V], "accuracy": [V]})`:
  # images uint8 `[R, N, H, W, C]`, one training set a row; labels int32 `[N]`, the same
  # for every row; rows int32 `[V]` in [0, R): what each victim is trained on; keys `[V]`,
  # as for `init`. The state's buffers are donated: only the new one can be used.
  epoch: Callable[..., tuple[TrainState, types.Aux]]


def victim_keys(key: types.Key, num_victims: int) -> types.Key:
  """Key of each victim of a row, `[S]`: `fold_in(key, seed)` for seeds 0 to S - 1.

  The rows of an experiment share them: a seed has the same start, batches and noise on
  every row's data, so that rows differ by their data alone.
  """
  seeds = jnp.arange(num_victims)
  return jax.vmap(lambda seed: jax.random.fold_in(key, seed))(seeds)


def every_row(keys: types.Key, num_rows: int) -> tuple[types.Array, types.Key]:
  """The rows and keys of all victims, each `[R * S]`: row after row, every seed of each."""
  num_seeds = len(keys)
  rows = jnp.repeat(jnp.arange(num_rows, dtype=jnp.int32), num_seeds)
  return rows, keys[jnp.tile(jnp.arange(num_seeds), num_rows)]


def make(
  model: types.Model,
  loss: types.Loss,
  optimizer: optax.GradientTransformation,
  *,
  image_shape: tuple[int, int, int],
  batch_size: int = 200,
  victims_at_once: int = 0,
  augment: types.AugmentFn | None = None,
  noise_choice: str = "fresh",
  adversary_warmup: int = 0,
  mesh: jax.sharding.Mesh | None = None,
) -> Trainer:
  """Builds a trainer: mini-batches without replacement.

  Images stay uint8 on the device; a mini-batch becomes the numbers of `arrays.to_float`.

  Args:
    model: base classifier, initialised from each victim's key.
    loss: of that model.
    optimizer: of the parameters.
    image_shape: `(H, W, C)`.
    batch_size: at most the number of training images.
    victims_at_once: how many a device trains side by side, the others after them; 0: all.
      It bounds the memory, and changes no victim but by rounding.
    augment: random change of the images at every step, before anything else.
    noise_choice: "fresh" at every step, or "fixed": one draw for each image.
    adversary_warmup: epochs over which the radius of the loss's adversary rises linearly
      to the whole, one part an epoch (Salman et al., 2019); 0: whole at once.
    mesh: devices that each train their share of the victims; between two epochs each has
      the states of all. `epoch` is then given arrays that `sharding.replicate` placed.
      None: one.

  Returns:
    A `Trainer`. Step t of a victim is a function of its key, its row's data and t alone.
  """

  def init_one(key):
    params = model.init(jax.random.fold_in(key, 0), image_shape)
    return TrainState(jnp.int32(0), params, optimizer.init(params))

  def epoch_one(state, images, labels, row, key):
    order_key, noise_key, fixed_key = (jax.random.fold_in(key, i) for i in (1, 2, 3))
    num_batches = len(labels) // batch_size
    order = jax.random.permutation(jax.random.fold_in(order_key, state.epoch), len(labels))
    batches = order[: num_batches * batch_size].reshape(num_batches, batch_size)
    levels = jnp.asarray(_LEVELS)  # A division by 255 in XLA would round differently.
    strength = jnp.minimum((state.epoch + 1) / max(adversary_warmup, 1), 1.0)

    def step(carry, numbered_batch):
      (params, opt_state), (number, batch) = carry, numbered_batch
      step_key = jax.random.fold_in(noise_key, state.epoch * num_batches + number)
      batch_images = levels[images[row, batch]]
      if augment is not None:
        change_key, step_key = jax.random.split(step_key)
        batch_images = augment(change_key, batch_images)
      loss_fn = functools.partial(
        loss,
        images=batch_images,
        labels=labels[batch],
        key=noise.of_images(fixed_key, batch) if noise_choice == "fixed" else step_key,
        strength=strength,
      )
      (value, aux), gradient = jax.value_and_grad(loss_fn, has_aux=True)(params)
      updates, opt_state = optimizer.update(gradient, opt_state, params)
      return (optax.apply_updates(params, updates), opt_state), (value, aux["accuracy"])

    carry = state.params, state.opt_state
    numbered = jnp.arange(num_batches), batches
    carry, (values, accuracies) = jax.lax.scan(step, carry, numbered)
    metrics = {"loss": values.mean(), "accuracy": accuracies.mean()}
    return TrainState(state.epoch + 1, *carry), metrics

  def epoch(state, images, labels, rows, keys):
    def one(victim):
      state, row, key = victim
      return epoch_one(state, images, labels, row, key)

    # A clone, as the chunks of a map are slices, and a slice of keys counts as their use.
    victims = state, rows, jax.random.clone(keys)
    at_once = victims_at_once or len(rows)
    if at_once >= len(rows):
      return jax.vmap(one)(victims)
    if at_once == 1:  # Not a batch of one: convolutions stay plain ones.
      return jax.lax.map(one, victims)
    return jax.lax.map(one, victims, batch_size=at_once)

  init = jax.jit(jax.vmap(init_one))
  if mesh is None:
    return Trainer(init, jax.jit(epoch, donate_argnums=0))
  shared = sharding.over_rows(epoch, mesh, in_axes=(0, None, None, 0, 0))
  whole = sharding.replicated(mesh)
  return Trainer(init, jax.jit(shared, donate_argnums=0, out_shardings=whole))


@functools.partial(jax.jit, static_argnums=(0, 3))
def _predict(
  apply: types.ApplyFn, params: types.Params, images: types.Array, dtype: str
) -> types.Array:
  return precision.evaluate(apply, params, images, dtype).argmax(axis=-1)


def accuracy(
  apply: types.ApplyFn,
  params: types.Params,
  dataset: types.Dataset,
  *,
  batch_size: int = 1000,
  dtype: str = "float32",
) -> float:
  """Fraction of images without noise that the base classifier gets right, in [0, 1].

  In bfloat16 it is that of the classifier which `certify` certifies under this name.
  """
  starts = range(0, len(dataset.labels), batch_size)
  predicted = [
    np.asarray(_predict(apply, params, arrays.to_float(images), dtype))
    for images in (dataset.images[i : i + batch_size] for i in starts)
  ]
  return float(np.mean(np.concatenate(predicted) == dataset.labels))
