"""Training of victims from scratch: all rows and seeds in one compiled program."""

import functools
from collections.abc import Callable, Sequence
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
  """The victims between two epochs; every leaf has the leading axis `V`, the victims."""

  epoch: types.Array  # `[V]` int32: epochs done, the same number for all.
  params: types.Params
  opt_state: optax.OptState


class Trainer(NamedTuple):
  """Training as two pure functions, jitted and mapped over victims."""

  # `init(keys) -> state`, keys `[V]`; folded, not consumed.
  init: Callable[[types.Key], TrainState]
  # `epoch(state, data, rows, keys, recovery_rows=None) -> (state, {"loss": [V],
  # "accuracy": [V]})`, or what else is logged: data is `types.Rows`; rows, int32 `[V]` in
  # [0, R), are the rows that the victims are trained on; keys `[V]`, as for `init`;
  # recovery_rows, int32 `[V]`, are their rows from epoch `num_epochs` on, by default the
  # same. Metrics are means over a victim's own mini-batches. The buffers of the given state
  # are donated: only the returned state can be used.
  epoch: Callable[..., tuple[TrainState, types.Aux]]


def victim_keys(key: types.Key, num_victims: int) -> types.Key:
  """The keys of a row's victims, `[S]`: `fold_in(key, seed)` for seeds 0 to S - 1.

  All rows of an experiment use the same keys: a seed has the same initialisation,
  mini-batches and noise in every row, so that rows differ in their data alone.
  """
  seeds = jnp.arange(num_victims)
  return jax.vmap(lambda seed: jax.random.fold_in(key, seed))(seeds)


def every_row(keys: types.Key, num_rows: int) -> tuple[types.Array, types.Key]:
  """The rows and keys of all victims, each `[R * S]`: the seeds of row 0, of row 1, ..."""
  num_seeds = len(keys)
  rows = jnp.repeat(jnp.arange(num_rows, dtype=jnp.int32), num_seeds)
  return rows, keys[jnp.tile(jnp.arange(num_seeds), num_rows)]


def cosine(rate: float, num_steps: int | types.Array) -> optax.Schedule:
  """rate (1 + cos(pi t / T)) / 2 at step t of T, then 0 (Loshchilov and Hutter, 2017).

  It is `optax.cosine_decay_schedule`, but T may be on the device: the bits are the same as
  those of a constant. (XLA's versions differ in how they associate a formula's constants,
  so that optax's own last bits depend on the version.)

  Args:
    rate: the rate at the first step.
    num_steps: T, at least 1; a Python int, or `[]` int on the device.
  """

  def schedule(count):
    total = num_steps * 1.0  # A float, as in optax.
    count = jnp.minimum(count, total)
    if isinstance(num_steps, int):  # One constant, which XLA cannot take apart.
      factor = np.float32(np.pi) * (np.float32(1.0) / np.float32(total))
    else:
      factor = jnp.pi * (1.0 / total)
    angle = count * factor
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
  mix: types.MixFn | None = None,
  gradient_fn: types.GradientFn | None = None,
  noise_choice: str = "fresh",
  adversary_warmup: int = 0,
  adversary_ramp: str = "epoch",
  logged: Sequence[str] = ("accuracy",),
  mesh: jax.sharding.Mesh | None = None,
) -> Trainer:
  """Builds a trainer with mini-batches drawn without replacement.

  Images stay uint8 on the device; a mini-batch is converted to the values of
  `arrays.to_float`. Rows may differ in size: victims of a smaller row take fewer steps per
  epoch, and wait for the others.

  Args:
    model: base classifier, initialised from each victim's key.
    loss: training loss of that model.
    optimizer_of: `optimizer_of(num_steps)` returns the optimiser of the parameters, given a
      victim's total number of steps, which is `[]` int on the device where rows differ in
      size. The optimiser's initial state must not depend on that number.
    image_shape: `(H, W, C)`.
    num_epochs: epochs on a victim's row.
    recovery_epochs: epochs on its recovery row, after those.
    batch_size: at most the number of images of any row (`training_sets.check_batch_size`).
    victims_at_once: how many victims a device trains side by side, the others after them;
      0: all. It bounds the memory, and changes victims by rounding alone.
    augment: random augmentation of the images, the first operation of every step.
    mix: mixing of the images after that, and before the loss adds noise; the loss then is
      lam L(., y_a) + (1 - lam) L(., y_b), under the same noise.
    gradient_fn: the gradient of a step; None: that of the batch's loss.
    noise_choice: "fresh" at every step, or "fixed": one draw per image.
    adversary_warmup: epochs over which the radius of the loss's adversary rises linearly
      to its full size; 0: no warm-up.
    adversary_ramp: when it rises: at every "epoch" (Salman et al., 2019), the first of
      which has a share of it already, or at every "step" (Gowal et al., 2018).
    logged: which of the loss's auxiliary numbers are among the metrics.
    mesh: the devices, each of which trains its share of the victims; between epochs every
      device holds the states of all. `epoch` must then be given arrays that
      `sharding.replicate` placed. Cores take any arrays, and leave NumPy's
      (`sharding.by_core`). None: one device.

  Returns:
    A `Trainer`. Step t of a victim is a function of its key, its row's data and t alone.
  """

  if adversary_ramp not in ("epoch", "step"):
    raise ValueError(f"adversary_ramp {adversary_ramp!r}: use 'epoch' or 'step'")

  def init_one(key):
    params = model.init(jax.random.fold_in(key, 0), image_shape)
    return TrainState(jnp.int32(0), params, optimizer_of(1).init(params))

  def epoch_one(state, data, row, recovery_row, key):
    order_key, noise_key, fixed_key, own_key = (
      jax.random.fold_in(key, i) for i in (1, 2, 3, 4)
    )
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
    source = row if data.source is None else data.source[row]
    levels = jnp.asarray(_LEVELS)  # A division by 255 in XLA would round differently.

    def strength(number):  # Of the adversary, in [0, 1].
      if adversary_ramp == "epoch" or not adversary_warmup:
        done = state.epoch + 1
      else:
        done = state.epoch + (number + 1) / num_batches
      return jnp.minimum(done / max(adversary_warmup, 1), 1.0)

    def step(carry, numbered_batch):
      (params, opt_state), (number, batch) = carry, numbered_batch
      step_key = jax.random.fold_in(noise_key, first_step + number)
      batch_images = levels[data.images[source, batch]]
      labels = data.labels[source, batch]
      loss_fn = functools.partial(loss, strength=strength(number))
      if augment is not None:
        change_key, step_key = jax.random.split(step_key)
        batch_images = augment(change_key, batch_images)
      if mix is not None:
        mix_key, step_key = jax.random.split(step_key)
        mixed = mix(mix_key, batch_images)
        batch_images = mixed.images
        loss_fn = mixed.loss(loss)
      if noise_choice == "fixed":
        step_key = noise.of_images(fixed_key, batch)
      given = params, batch_images, labels, step_key
      if gradient_fn is None:
        (value, aux), gradient = jax.value_and_grad(loss_fn, has_aux=True)(*given)
      else:
        gradient_key = jax.random.fold_in(own_key, first_step + number)
        (value, aux), gradient = gradient_fn(loss_fn, *given, gradient_key)
      updates, opt_state = optimizer.update(gradient, opt_state, params)
      stepped = optax.apply_updates(params, updates), opt_state
      return stepped, {"loss": value} | {name: aux[name] for name in logged}

    def step_within(carry, numbered_batch):
      """Leaves everything unchanged after a row's last mini-batch."""
      is_within = numbered_batch[0] < num_batches
      stays = carry, {"loss": 0.0} | dict.fromkeys(logged, 0.0)
      choose = functools.partial(jnp.where, is_within)
      return jax.tree.map(choose, step(carry, numbered_batch), stays)

    carry, numbered = (state.params, state.opt_state), (jnp.arange(len(drawn)), drawn)
    if data.sizes is None:
      carry, values = jax.lax.scan(step, carry, numbered)
      metrics = jax.tree.map(jnp.mean, values)
    else:
      carry, values = jax.lax.scan(step_within, carry, numbered)
      most = jnp.maximum(num_batches, 1)  # A set smaller than a batch trains no network.
      metrics = jax.tree.map(lambda value: value.sum() / most, values)
    return TrainState(state.epoch + 1, *carry), metrics

  def epoch(state, data, rows, keys, recovery_rows=None):
    def one(victim):
      state, row, recovery_row, key = victim
      return epoch_one(state, data, row, recovery_row, key)

    recovery_rows = rows if recovery_rows is None else recovery_rows
    # A clone, since the chunks of a map are slices, and slicing keys counts as using them.
    victims = state, rows, recovery_rows, jax.random.clone(keys)
    at_once = min(victims_at_once or len(rows), len(rows))
    # No batch axis of size 1: convolutions are not batched, and a `cond` of the loss
    # computes one of its branches instead of both.
    if at_once == 1:
      return jax.lax.map(one, victims)
    if at_once == len(rows):
      return jax.vmap(one)(victims)
    return jax.lax.map(one, victims, batch_size=at_once)

  # One after the other: the program compiles in half of the time of `vmap`'s.
  init = jax.jit(lambda keys: jax.lax.map(init_one, jax.random.clone(keys)))
  if mesh is None:
    return Trainer(init, jax.jit(epoch, donate_argnums=0))
  in_axes = 0, None, 0, 0, 0
  if sharding.are_cores(mesh):
    shared = sharding.by_core(epoch, in_axes, donated=0)

    def over_cores(state, data, rows, keys, recovery_rows=None):
      return shared(
        state, data, rows, keys, rows if recovery_rows is None else recovery_rows
      )

    return Trainer(init, over_cores)

  def over_mesh(state, data, rows, keys, recovery_rows=None):
    shared = sharding.over_rows(epoch, mesh, in_axes)
    return shared(state, data, rows, keys, recovery_rows)

  whole = sharding.replicated(mesh)
  return Trainer(init, jax.jit(over_mesh, donate_argnums=0, out_shardings=whole))


def _num_batches(data: types.Rows, row: types.Array, batch_size: int):
  """Mini-batches per epoch of a row: an int if rows have one size, otherwise `[]` int32."""
  if data.sizes is None:
    return data.present.shape[1] // batch_size
  return data.sizes[row] // batch_size


def _draw(
  key: types.Key, data: types.Rows, row: types.Array, batch_size: int
) -> types.Array:
  """An epoch's mini-batches of a row, `[T, B]`: positions drawn without replacement.

  T is the number of mini-batches of the largest row; a smaller row uses its first ones.
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
  """Accuracy of the base classifier on images without noise, in [0, 1].

  With dtype "bfloat16" it is that of the rounded classifier which `certify` certifies with
  the same dtype.
  """
  starts = range(0, len(dataset.labels), batch_size)
  predicted = [
    np.asarray(_predict(apply, params, arrays.to_float(images), dtype))
    for images in (dataset.images[i : i + batch_size] for i in starts)
  ]
  return float(np.mean(np.concatenate(predicted) == dataset.labels))
