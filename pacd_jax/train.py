"""Victims trained from scratch: every seed of a data set in one compiled program."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import data, types


class TrainState(NamedTuple):
  """Victims between two epochs; every leaf has the seeds `S` in front."""

  epoch: types.Array  # `[S]` int32: epochs done, the same for all.
  params: types.Params
  opt_state: optax.OptState


class Trainer(NamedTuple):
  """Training as pure functions, jitted and mapped over seeds."""

  # `init(keys) -> state`, keys `[S]`; folded, not consumed.
  init: Callable[[types.Key], TrainState]
  # `epoch(state, images, labels, keys) -> (state, {"loss": [S], "accuracy": [S]})`.
  epoch: Callable[..., tuple[TrainState, types.Aux]]


def victim_keys(key: types.Key, num_victims: int) -> types.Key:
  """Key of each victim, `[S]`: `fold_in(key, seed)` for seeds 0 to S - 1.

  The rows of an experiment share them: a seed has the same start, batches and noise on
  every row's data, so that rows differ by their data alone.
  """
  seeds = jnp.arange(num_victims)
  return jax.vmap(lambda seed: jax.random.fold_in(key, seed))(seeds)


def make(
  model: types.Model,
  loss: types.Loss,
  optimizer: optax.GradientTransformation,
  *,
  image_shape: tuple[int, int, int],
  batch_size: int = 200,
) -> Trainer:
  """Builds a trainer: mini-batches without replacement, fresh noise at every step.

  Args:
    model: base classifier, initialised from each victim's key.
    loss: of that model.
    optimizer: of the parameters.
    image_shape: `(H, W, C)`.
    batch_size: at most the number of training images.

  Returns:
    A `Trainer`. Step t of a victim is a function of its key and t alone.
  """

  def init_one(key):
    params = model.init(jax.random.fold_in(key, 0), image_shape)
    return TrainState(jnp.int32(0), params, optimizer.init(params))

  def epoch_one(state, images, labels, key):
    order_key, noise_key = jax.random.fold_in(key, 1), jax.random.fold_in(key, 2)
    num_batches = len(labels) // batch_size
    order = jax.random.permutation(jax.random.fold_in(order_key, state.epoch), len(labels))
    batches = order[: num_batches * batch_size].reshape(num_batches, batch_size)

    def step(carry, numbered_batch):
      (params, opt_state), (number, rows) = carry, numbered_batch
      t = state.epoch * num_batches + number
      loss_fn = functools.partial(
        loss,
        images=images[rows],
        labels=labels[rows],
        key=jax.random.fold_in(noise_key, t),
      )
      (value, aux), gradient = jax.value_and_grad(loss_fn, has_aux=True)(params)
      updates, opt_state = optimizer.update(gradient, opt_state, params)
      return (optax.apply_updates(params, updates), opt_state), (value, aux["accuracy"])

    carry = state.params, state.opt_state
    numbered = jnp.arange(num_batches), batches
    carry, (values, accuracies) = jax.lax.scan(step, carry, numbered)
    metrics = {"loss": values.mean(), "accuracy": accuracies.mean()}
    return TrainState(state.epoch + 1, *carry), metrics

  return Trainer(
    jax.jit(jax.vmap(init_one)),
    jax.jit(jax.vmap(epoch_one, in_axes=(0, None, None, 0))),
  )


@functools.partial(jax.jit, static_argnums=0)
def _predict(
  apply: types.ApplyFn, params: types.Params, images: types.Array
) -> types.Array:
  return apply(params, images).argmax(axis=-1)


def accuracy(
  apply: types.ApplyFn,
  params: types.Params,
  dataset: types.Dataset,
  *,
  batch_size: int = 1000,
) -> float:
  """Fraction of images without noise that the base classifier gets right, in [0, 1]."""
  starts = range(0, len(dataset.labels), batch_size)
  predicted = [
    np.asarray(_predict(apply, params, data.to_float(dataset.images[i : i + batch_size])))
    for i in starts
  ]
  return float(np.mean(np.concatenate(predicted) == dataset.labels))
