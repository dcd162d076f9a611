"""Victims trained from scratch: all data rows and all seeds in one compiled program."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import noise, types
from pacd_jax.data import arrays, batches
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
  # `epoch(state, data, rows, keys, recovery_rows=None) -> (state, {"loss": [V],
  # "accuracy": [V]})`: data is `types.Rows`; rows int32 `[V]` in [0, R): what each victim
  # is trained on; keys `[V]`, as for `init`; recovery_rows int32 `[V]`: what from epoch
  # `num_epochs` on, by default the same. Metrics are means over a victim's own batches.
  # The state's buffers are donated: only the new one can be used.
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


def cosine(rate: float, num_steps: int | types.Array) -> optax.Schedule:
  """rate (1 + cos(pi t / T)) / 2 at step t of T, then 0 (Loshchilov and Hutter, 2017).

  `optax.cosine_decay_schedule`, to the bit, whose T has to be known to Python.

  Args:
    rate: at the first step.
    num_steps: T, at least 1; `[]` int on the device.
  """

  def schedule(count):
    total = num_steps * 1.0  # A float, as optax makes it.
    count = jnp.minimum(count, total)
    if isinstance(num_steps, int):
      angle = jnp.pi * count / total
    else:  # What XLA's compiler makes of constants, so that both give the same bits.
      angle = count * (jnp.pi * (1.0 / total))
    return rate * (0.5 * (1 + jnp.cos(angle)))

  return schedule


def make(
  model: types.Model,
  loss: types.Loss,
  optimizer_of: Callable[[int | types.Array], optax.GradientTransformation],
  *,
  image_shape: tuple[int, int, int],
  num_epochs: int,
  recovery_epochs: int = 0,
  batch_size: int = 200,
  victims_at_once: int = 0,
  augment: types.AugmentFn | None = None,
  noise_choice: str = "fresh",
  adversary_warmup: int = 0,
  mesh: jax.sharding.Mesh | None = None,
) -> Trainer:
  """Builds a trainer: mini-batches without replacement.

  Images stay uint8 on the device; a mini-batch becomes the numbers of `arrays.to_float`.
  Rows may differ in size: victims of a smaller one have fewer steps an epoch, and wait for
  the others.

  Args:
    model: base classifier, initialised from each victim's key.
    loss: of that model.
    optimizer_of: `optimizer_of(num_steps)` of the parameters, with the number of all
      steps of a victim, `[]` int on the device where rows differ in size. Its first state
      depends on no number.
    image_shape: `(H, W, C)`.
    num_epochs: on a victim's row,
    recovery_epochs: and then on its row of recovery.
    batch_size: at most the number of images of any row (`training_sets.check_batch_size`).
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
    return TrainState(jnp.int32(0), params, optimizer_of(1).init(params))

  def epoch_one(state, data, row, recovery_row, key):
    order_key, noise_key, fixed_key = (jax.random.fold_in(key, i) for i in (1, 2, 3))
    of_row, of_recovery = (_num_batches(data, r, batch_size) for r in (row, recovery_row))
    optimizer = optimizer_of(num_epochs * of_row + recovery_epochs * of_recovery)
    first_step = (
      jnp.minimum(state.epoch, num_epochs) * of_row
      + jnp.maximum(state.epoch - num_epochs, 0) * of_recovery
    )
    if recovery_epochs:
      row = jnp.where(state.epoch < num_epochs, row, recovery_row)
    drawn = _draw(jax.random.fold_in(order_key, state.epoch), data, row, batch_size)
    num_batches = _num_batches(data, row, batch_size)
    levels = jnp.asarray(_LEVELS)  # A division by 255 in XLA would round differently.
    strength = jnp.minimum((state.epoch + 1) / max(adversary_warmup, 1), 1.0)

    def step(carry, numbered_batch):
      (params, opt_state), (number, batch) = carry, numbered_batch
      step_key = jax.random.fold_in(noise_key, first_step + number)
      batch_images = levels[data.images[row, batch]]
      if augment is not None:
        change_key, step_key = jax.random.split(step_key)
        batch_images = augment(change_key, batch_images)
      loss_fn = functools.partial(
        loss,
        images=batch_images,
        labels=data.labels[row, batch],
        key=noise.of_images(fixed_key, batch) if noise_choice == "fixed" else step_key,
        strength=strength,
      )
      (value, aux), gradient = jax.value_and_grad(loss_fn, has_aux=True)(params)
      updates, opt_state = optimizer.update(gradient, opt_state, params)
      stepped = optax.apply_updates(params, updates), opt_state
      return stepped, {"loss": value, "accuracy": aux["accuracy"]}

    def step_within(carry, numbered_batch):
      """Past a row's last batch, all stays as it is."""
      is_within = numbered_batch[0] < num_batches
      stays = carry, {"loss": 0.0, "accuracy": 0.0}
      choose = functools.partial(jnp.where, is_within)
      return jax.tree.map(choose, step(carry, numbered_batch), stays)

    carry, numbered = (state.params, state.opt_state), (jnp.arange(len(drawn)), drawn)
    if data.sizes is None:
      carry, values = jax.lax.scan(step, carry, numbered)
      metrics = jax.tree.map(jnp.mean, values)
    else:
      carry, values = jax.lax.scan(step_within, carry, numbered)
      metrics = jax.tree.map(lambda value: value.sum() / num_batches, values)
    return TrainState(state.epoch + 1, *carry), metrics

  def epoch(state, data, rows, keys, recovery_rows=None):
    def one(victim):
      state, row, recovery_row, key = victim
      return epoch_one(state, data, row, recovery_row, key)

    recovery_rows = rows if recovery_rows is None else recovery_rows
    # A clone, as the chunks of a map are slices, and a slice of keys counts as their use.
    victims = state, rows, recovery_rows, jax.random.clone(keys)
    at_once = victims_at_once or len(rows)
    if at_once >= len(rows):
      return jax.vmap(one)(victims)
    if at_once == 1:  # Not a batch of one: convolutions stay plain ones.
      return jax.lax.map(one, victims)
    return jax.lax.map(one, victims, batch_size=at_once)

  init = jax.jit(jax.vmap(init_one))
  if mesh is None:
    return Trainer(init, jax.jit(epoch, donate_argnums=0))

  def over_mesh(state, data, rows, keys, recovery_rows=None):
    shared = sharding.over_rows(epoch, mesh, in_axes=(0, None, 0, 0, 0))
    return shared(state, data, rows, keys, recovery_rows)

  whole = sharding.replicated(mesh)
  return Trainer(init, jax.jit(over_mesh, donate_argnums=0, out_shardings=whole))


def _num_batches(data: types.Rows, row: types.Array, batch_size: int):
  """Of an epoch on a row: an int where it is that of all rows, otherwise `[]` int32."""
  if data.sizes is None:
    return data.present.shape[1] // batch_size
  return data.sizes[row] // batch_size


def _draw(
  key: types.Key, data: types.Rows, row: types.Array, batch_size: int
) -> types.Array:
  """An epoch's batches of a row, `[T, B]`: positions, drawn without replacement.

  T is that of the largest row; what is past a smaller one's own number is of no use.
  """
  most = data.present.shape[1]
  if data.sizes is None:
    order = jax.random.permutation(key, most)
  else:
    order = batches.permutation(key, data.sizes[row], most)
  num_batches = most // batch_size
  drawn = data.present[row, order[: num_batches * batch_size]]
  return drawn.reshape(num_batches, batch_size)


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
