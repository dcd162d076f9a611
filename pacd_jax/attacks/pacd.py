"""PACD: Algorithm 1 of Mehra et al. (2021), https://arxiv.org/abs/2012.01274.

  min_u  R(D_val; theta*)   s.t.  |u_i - x_i| <= epsilon,
         theta* = argmin_theta L_robust(D_clean u D_poison; theta)

R is the average certified radius of the target class. The state is one pytree and a step
is one pure function, so the caller's loop only logs and saves.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import data, perturbation, smoothing, types


class AttackData(NamedTuple):
  """What the attacker sees, on the device; uint8 images may be float32 in [0, 1], too."""

  clean_images: types.Array  # uint8 `[N - n, H, W, C]`: the other classes, never changed.
  clean_labels: types.Array  # int32 `[N - n]`
  base_images: types.Array  # float32 `[n, H, W, C]` in [0, 1]: the target class.
  base_labels: types.Array  # `[n]`
  val_images: types.Array  # uint8 `[m, H, W, C]`: that class of the validation split.
  val_labels: types.Array  # `[m]`


class AttackState(NamedTuple):
  """Everything that a step changes."""

  step: types.Array  # `[]` int32: outer steps done.
  params: types.Params  # theta of the surrogate, the lower level's current solution.
  opt_state: optax.OptState
  delta: types.Array  # `[n, H, W, C]`: u - x of every target image.
  velocity: types.Array  # `[n, H, W, C]`: running mean of its hypergradients.


class Batch(NamedTuple):
  """One mini-batch of the lower level."""

  images: types.Array  # `[c, H, W, C]` clean images.
  labels: types.Array  # `[c + p]`: clean, then poison.
  rows: types.Array  # `[p]`: which target images the poison part holds.


class Settings(NamedTuple):
  """What the attack is made of; defaults as the authors' code has them for MNIST.

  Except for the poison's step: theirs is Adam's with 0.1, ours the steepest direction of
  the budget's norm.
  """

  model: types.Model  # The surrogate's architecture.
  loss: types.Loss  # The victim's training loss, of that model.
  hypergradient: types.HypergradientFn  # Such as `approx_grad` with its solver bound.
  optimizer: optax.GradientTransformation  # Of the surrogate's parameters.
  sigma: float  # Smoothing noise, standard deviation in image units.
  epsilon: float  # Budget of one image's perturbation, in image units.
  norm: str = "linf"  # Of the budget: "linf" or "l2".
  clean_batch: int = 900  # Clean images in a lower-level batch.
  poison_batch: int = 100  # Target images in a lower-level batch.
  val_batch: int = 100  # Validation images in the upper level.
  # Random change of the upper level's images; the lower level's is in its loss.
  augment: types.AugmentFn | None = None
  num_noise_samples: int = 20  # k: noise draws for each validation image.
  inverse_temperature: float = 16.0  # beta of the soft smoothed classifier.
  lower_steps: int = 10  # T1: optimiser steps on theta in an outer step.
  warmup_steps: int = 0  # Optimiser steps of a fresh surrogate before it is attacked.
  # The first outer steps move one perturbation shared by the class, by the mean over the
  # batch of its hypergradients; later ones move each image of the batch by its own.
  num_shared_steps: int = 0
  # Length of an outer step's move, in image units, by the step's number.
  step_size: optax.Schedule = optax.constant_schedule(0.1)
  # In [0, 1): weight of the past in the running mean of hypergradients whose direction is
  # taken (Signum, Bernstein et al., 2018). Steps on which few validation points are still
  # right have small, noisy hypergradients, and so little say.
  momentum: float = 0.0


class Attack(NamedTuple):
  """An attack as pure functions; `key` is the whole run's: folded, never consumed."""

  # `init(data, key, start)`: `start` is the first perturbation, `[1 or n, H, W, C]`.
  init: Callable[[AttackData, types.Key, types.Array | None], AttackState]
  # `restart(state, data, key)`: a fresh surrogate, warmed up on the poison as it stands.
  restart: Callable[[AttackState, AttackData, types.Key], AttackState]
  # `step(state, data, key) -> (state, metrics)`: one outer step.
  step: Callable[[AttackState, AttackData, types.Key], tuple[AttackState, types.Aux]]


# Random streams of a run, each folded from its key.
(
  _INIT,
  _CLEAN,
  _POISON,
  _VAL,
  _VAL_NOISE,
  _LOWER_NOISE,
  _RESTART,
  _VAL_CHANGE,
) = range(8)


def attack_data(splits: types.Splits, target_class: int) -> AttackData:
  """The attacker's view: training split, and the target class of the validation split."""
  target = data.class_indices(splits.train, target_class)
  clean = np.flatnonzero(splits.train.labels != target_class)
  val = data.class_indices(splits.validation, target_class)
  return AttackData(
    jnp.asarray(splits.train.images[clean]),
    jnp.asarray(splits.train.labels[clean]),
    jnp.asarray(data.to_float(splits.train.images[target])),
    jnp.asarray(splits.train.labels[target]),
    jnp.asarray(splits.validation.images[val]),
    jnp.asarray(splits.validation.labels[val]),
  )


def poisoned_images(base_images: types.Array, delta: types.Array) -> types.Array:
  """u = clip(x + delta) to the box [0, 1]."""
  return jnp.clip(base_images + delta, 0.0, 1.0)


def make(settings: Settings) -> Attack:
  """Binds the attack's functions to its settings."""
  return Attack(*(functools.partial(f, settings) for f in (init, restart, step)))


def init(
  settings: Settings,
  attack_data: AttackData,
  key: types.Key,
  start: types.Array | None = None,
) -> AttackState:
  """The state before the first step; `start` is `[1 or n, H, W, C]`, None for zero."""
  shape = attack_data.base_images.shape[1:]
  params = settings.model.init(jax.random.fold_in(key, _INIT), shape)
  zero = jnp.zeros_like(attack_data.base_images)
  delta = zero if start is None else zero + start
  return AttackState(jnp.int32(0), params, settings.optimizer.init(params), delta, zero)


def restart(
  settings: Settings, state: AttackState, attack_data: AttackData, key: types.Key
) -> AttackState:
  """A fresh surrogate, trained for `warmup_steps` on the poison as it stands."""
  key = jax.random.fold_in(jax.random.fold_in(key, _RESTART), state.step)
  params = settings.model.init(jax.random.fold_in(key, _INIT), state.delta.shape[1:])
  images = poisoned_images(attack_data.base_images, state.delta)

  def update(t, carry):
    batch = _draw_batch(settings, attack_data, key, t)
    lower = lower_level(settings, batch, _fold(key, _LOWER_NOISE, t))
    return _descend(settings, lower, *carry, images[batch.rows])[:2]

  carry = params, settings.optimizer.init(params)
  params, opt_state = jax.lax.fori_loop(0, settings.warmup_steps, update, carry)
  return state._replace(params=params, opt_state=opt_state)


def step(
  settings: Settings, state: AttackState, attack_data: AttackData, key: types.Key
) -> tuple[AttackState, types.Aux]:
  """One outer step of Algorithm 1: lower level, upper level, hypergradient, poison.

  Returns:
    The next state, and to log: `upper` (xi), `lower` (zeta), the norm of du, and how the
    linear solve went (`SolveInfo`).
  """
  batch = _draw_batch(settings, attack_data, key, state.step)
  poison = poisoned_images(attack_data.base_images[batch.rows], state.delta[batch.rows])
  noise_key = _fold(key, _LOWER_NOISE, state.step)

  # theta: T1 steps of the victim's training on the poisoned batch.
  def update(t, carry):
    lower = lower_level(settings, batch, jax.random.fold_in(noise_key, t))
    return _descend(settings, lower, *carry[:2], poison)

  carry = state.params, state.opt_state, jnp.float32(0.0)
  params, opt_state, zeta = jax.lax.fori_loop(0, settings.lower_steps, update, carry)

  # du: the hypergradient of the target class's ACR (ApproxGrad).
  upper = upper_level(settings, attack_data, key, state.step)
  lower = lower_level(settings, batch, jax.random.fold_in(noise_key, settings.lower_steps))
  xi = upper(params, poison)
  du, info = settings.hypergradient(upper, lower, params, poison)

  # u: one step down, back into the ball and the box.
  delta, velocity = _move(settings, state, attack_data, batch, du)

  metrics = {"upper": xi, "lower": zeta, "gradient_norm": jnp.sqrt(jnp.sum(du**2))}
  state = AttackState(state.step + 1, params, opt_state, delta, velocity)
  return state, metrics | info._asdict()


def lower_level(settings: Settings, batch: Batch, key: types.Key) -> types.LowerLevel:
  """zeta of Algorithm 1: the robust loss on the batch, its noise fixed by the key."""
  loss = settings.loss

  def outputs(params, poison):
    images = jnp.concatenate([batch.images, poison])
    fixed = jax.random.clone(key)  # Reused on purpose: one function of (theta, u).
    return loss.outputs(params, images, batch.labels, fixed)

  return types.LowerLevel(outputs, lambda logits: loss.criterion(logits, batch.labels)[0])


def upper_level(
  settings: Settings, attack_data: AttackData, key: types.Key, step_number: types.Array
) -> types.UpperFn:
  """xi of Algorithm 1: the soft ACR of the target class on validation images."""
  rows = data.batch_indices(
    jax.random.fold_in(key, _VAL),
    step_number,
    num_examples=len(attack_data.val_images),
    batch_size=settings.val_batch,
  )
  noise_key = _fold(key, _VAL_NOISE, step_number)
  images = data.to_float(attack_data.val_images[rows])
  if settings.augment is not None:
    images = settings.augment(_fold(key, _VAL_CHANGE, step_number), images)

  def upper(params, poison):
    del poison  # The certificate depends on the poison through theta alone.
    probs = smoothing.soft_smoothed_probs(
      settings.model.apply,
      params,
      images,
      jax.random.clone(noise_key),  # Reused on purpose: one function of theta.
      sigma=settings.sigma,
      num_samples=settings.num_noise_samples,
      inverse_temperature=settings.inverse_temperature,
    )
    labels = attack_data.val_labels[rows]
    return smoothing.average_certified_radius(probs, labels, sigma=settings.sigma)

  return upper


def _fold(key, stream, number):
  return jax.random.fold_in(jax.random.fold_in(key, stream), number)


def _draw_batch(settings, attack_data, key, step_number) -> Batch:
  clean = data.batch_indices(
    jax.random.fold_in(key, _CLEAN),
    step_number,
    num_examples=len(attack_data.clean_images),
    batch_size=settings.clean_batch,
  )
  rows = data.batch_indices(
    jax.random.fold_in(key, _POISON),
    step_number,
    num_examples=len(attack_data.base_images),
    batch_size=settings.poison_batch,
  )
  labels = [attack_data.clean_labels[clean], attack_data.base_labels[rows]]
  images = data.to_float(attack_data.clean_images[clean])
  return Batch(images, jnp.concatenate(labels), rows)


def _descend(settings, lower, params, opt_state, poison):
  """One optimiser step of the surrogate: (params, opt_state, the lower level's value)."""
  value, gradient = jax.value_and_grad(lower)(params, poison)
  updates, opt_state = settings.optimizer.update(gradient, opt_state, params)
  return optax.apply_updates(params, updates), opt_state, value


def _move(settings, state, attack_data, batch, du):
  """The perturbation after its step, and the running mean of hypergradients.

  While shared, every image moves by the batch's mean, and the box cuts each image only
  where it is used (du is that of the cut images, passed straight through the cut); then
  the batch's images move, each by its own and inside the box.
  """
  shared = state.step < settings.num_shared_steps
  in_batch = jnp.zeros(len(state.delta), bool).at[batch.rows].set(True)
  moves = (shared | in_batch)[:, None, None, None]

  mean = jnp.broadcast_to(du.mean(axis=0, keepdims=True), state.delta.shape)
  now = jnp.where(shared, mean, state.velocity.at[batch.rows].set(du))
  average = settings.momentum * state.velocity + (1.0 - settings.momentum) * now
  velocity = jnp.where(moves, average, state.velocity)

  direction = perturbation.steepest_direction(velocity, norm=settings.norm)
  length = settings.step_size(state.step)
  delta = state.delta - length * jnp.where(moves, direction, 0.0)
  delta = perturbation.project(delta, epsilon=settings.epsilon, norm=settings.norm)
  base = attack_data.base_images
  return jnp.where(shared, delta, poisoned_images(base, delta) - base), velocity
