"""PACD: Algorithm 1 of Mehra et al. (2021), https://arxiv.org/abs/2012.01274.

  min_u  R(D_val; theta*)   s.t.  |u_i - x_i| <= epsilon,
         theta* = argmin_theta L_robust(D_clean u D_poison; theta)

R is the average certified radius of the target class. The state is one pytree and a step
is one pure function, so the caller's loop only logs and saves.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import data, perturbation, smoothing, types


class AttackData(NamedTuple):
  """What the attacker sees: float32 images in [0, 1] and int32 labels."""

  clean_images: types.Array  # `[N - n, H, W, C]`: the other classes, never changed.
  clean_labels: types.Array  # `[N - n]`
  base_images: types.Array  # `[n, H, W, C]`: the target class.
  base_labels: types.Array  # `[n]`
  val_images: types.Array  # `[m, H, W, C]`: the target class of the validation split.
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


class Attack(NamedTuple):
  """The attack as pure functions; `key` is folded by the step, never consumed."""

  # `init(data, key, start)`: `start` is the first perturbation, `[1 or n, H, W, C]`.
  init: Callable[[AttackData, types.Key, types.Array | None], AttackState]
  restart: Callable[[AttackState, AttackData, types.Key], AttackState]
  step: Callable[[AttackState, AttackData, types.Key], tuple[AttackState, types.Aux]]


def attack_data(splits: types.Splits, target_class: int) -> AttackData:
  """The attacker's view: training split, and the target class of the validation split."""
  target = data.class_indices(splits.train, target_class)
  clean = np.flatnonzero(splits.train.labels != target_class)
  val = data.class_indices(splits.validation, target_class)
  return AttackData(
    jnp.asarray(data.to_float(splits.train.images[clean])),
    jnp.asarray(splits.train.labels[clean]),
    jnp.asarray(data.to_float(splits.train.images[target])),
    jnp.asarray(splits.train.labels[target]),
    jnp.asarray(data.to_float(splits.validation.images[val])),
    jnp.asarray(splits.validation.labels[val]),
  )


def poisoned_images(base_images: types.Array, delta: types.Array) -> types.Array:
  """u = clip(x + delta) to the box [0, 1]."""
  return jnp.clip(base_images + delta, 0.0, 1.0)


def make(
  model: types.Model,
  loss: types.Loss,
  hypergradient: types.HypergradientFn,
  optimizer: optax.GradientTransformation,
  *,
  sigma: float,
  epsilon: float,
  norm: str = "linf",
  clean_batch: int = 900,
  poison_batch: int = 100,
  val_batch: int = 100,
  num_noise_samples: int = 20,
  inverse_temperature: float = 16.0,
  lower_steps: int = 10,
  warmup_steps: int = 0,
  num_shared_steps: int = 0,
  step_size: optax.Schedule = lambda step: 0.1,
  momentum: float = 0.0,
) -> Attack:
  """Builds the attack; defaults are the authors' for MNIST (reference code).

  Args:
    model: the surrogate's architecture.
    loss: the victim's training loss, of the same model.
    hypergradient: for instance `hypergradient.approx_grad` with its solver bound.
    optimizer: of the surrogate's parameters.
    sigma: smoothing noise in image units.
    epsilon: budget of one image's perturbation, in image units.
    norm: of the budget, "linf" or "l2".
    clean_batch: clean images in a lower-level batch.
    poison_batch: target images in a lower-level batch.
    val_batch: validation images in the upper level.
    num_noise_samples: k, noise draws for each validation image.
    inverse_temperature: beta of the soft smoothed classifier.
    lower_steps: T1, optimiser steps on theta for each outer step.
    warmup_steps: optimiser steps that a restarted surrogate gets before the attack uses it.
    num_shared_steps: first outer steps, which move one perturbation shared by the class
      (the batch's mean gradient); later ones move each image of the batch by its own.
    step_size: of the outer step's number; the length of its move along the norm's
      steepest direction, in image units.
    momentum: in [0, 1): weight of the past in the running mean of the hypergradients
      whose direction is taken (MI-FGSM, Dong et al., 2018). Steps on which few
      validation points are still classified correctly, hence small and noisy
      hypergradients, then have little say.

  Returns:
    An `Attack`.
  """

  def draw_batch(attack_data, key, step):
    clean_key, poison_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    clean = data.batch_indices(
      clean_key,
      step,
      num_examples=len(attack_data.clean_images),
      batch_size=clean_batch,
    )
    rows = data.batch_indices(
      poison_key,
      step,
      num_examples=len(attack_data.base_images),
      batch_size=poison_batch,
    )
    labels = [attack_data.clean_labels[clean], attack_data.base_labels[rows]]
    return Batch(attack_data.clean_images[clean], jnp.concatenate(labels), rows)

  def lower_level(batch, key):
    """zeta of Algorithm 1: the robust loss on the batch, its noise fixed by the key."""

    def outputs(params, poison):
      images = jnp.concatenate([batch.images, poison])
      return loss.outputs(params, images, jax.random.clone(key))  # Reused on purpose.

    return types.LowerLevel(outputs, lambda logits: loss.criterion(logits, batch.labels)[0])

  def upper_level(attack_data, key, step):
    """xi of Algorithm 1: the soft ACR of the target class on validation images."""
    batch_key, noise_key = jax.random.fold_in(key, 2), jax.random.fold_in(key, 3)
    rows = data.batch_indices(
      batch_key, step, num_examples=len(attack_data.val_images), batch_size=val_batch
    )
    images, labels = attack_data.val_images[rows], attack_data.val_labels[rows]
    noise_key = jax.random.fold_in(noise_key, step)

    def upper(params, poison):
      del poison  # The certificate depends on the poison through theta alone.
      probs = smoothing.soft_smoothed_probs(
        model.apply,
        params,
        images,
        jax.random.clone(noise_key),  # Reused on purpose: one function of theta.
        sigma=sigma,
        num_samples=num_noise_samples,
        inverse_temperature=inverse_temperature,
      )
      return smoothing.average_certified_radius(probs, labels, sigma=sigma)

    return upper

  def update_lower(params, opt_state, batch, poison, key):
    value, gradient = jax.value_and_grad(lower_level(batch, key))(params, poison)
    updates, opt_state = optimizer.update(gradient, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, value

  def init(attack_data, key, start=None):
    params = model.init(jax.random.fold_in(key, 4), attack_data.base_images.shape[1:])
    zero = jnp.zeros_like(attack_data.base_images)
    delta = zero if start is None else zero + start
    return AttackState(jnp.int32(0), params, optimizer.init(params), delta, zero)

  def restart(state, attack_data, key):
    """A fresh surrogate, warmed up on the poison as it stands."""
    key = jax.random.fold_in(jax.random.fold_in(key, 5), state.step)
    params = model.init(jax.random.fold_in(key, 0), state.delta.shape[1:])
    images = poisoned_images(attack_data.base_images, state.delta)

    def update(t, carry):
      batch = draw_batch(attack_data, key, t)
      noise_key = jax.random.fold_in(jax.random.fold_in(key, 2), t)
      return update_lower(*carry, batch, images[batch.rows], noise_key)[:2]

    carry = params, optimizer.init(params)
    params, opt_state = jax.lax.fori_loop(0, warmup_steps, update, carry)
    return state._replace(params=params, opt_state=opt_state)

  def step(state, attack_data, key):
    """One outer step: lower level, upper level, hypergradient, poison."""
    batch = draw_batch(attack_data, key, state.step)
    poison = poisoned_images(attack_data.base_images[batch.rows], state.delta[batch.rows])
    noise_key = jax.random.fold_in(jax.random.fold_in(key, 6), state.step)

    # theta: T1 steps of the victim's training on the poisoned batch.
    def update(t, carry):
      params, opt_state, _ = carry
      return update_lower(
        params, opt_state, batch, poison, jax.random.fold_in(noise_key, t)
      )

    carry = state.params, state.opt_state, jnp.float32(0.0)
    params, opt_state, zeta = jax.lax.fori_loop(0, lower_steps, update, carry)

    # du: the hypergradient of the target class's ACR (ApproxGrad).
    upper = upper_level(attack_data, key, state.step)
    lower = lower_level(batch, jax.random.fold_in(noise_key, lower_steps))
    xi = upper(params, poison)
    du, info = hypergradient(upper, lower, params, poison)

    # u: one step down, back into the ball and the box.
    velocity = update_velocity(state, batch, du)
    direction = perturbation.steepest_direction(velocity, norm=norm)
    delta = state.delta - step_size(state.step) * jnp.where(
      moves(state, batch), direction, 0.0
    )
    delta = perturbation.project(delta, epsilon=epsilon, norm=norm)
    delta = jnp.where(state.step < num_shared_steps, delta, in_box(attack_data, delta))

    metrics = {"upper": xi, "lower": zeta, "gradient_norm": jnp.sqrt(jnp.sum(du**2))}
    state = AttackState(state.step + 1, params, opt_state, delta, velocity)
    return state, metrics | info._asdict()

  def in_box(attack_data, delta):
    images = poisoned_images(attack_data.base_images, delta)
    return images - attack_data.base_images

  def update_velocity(state, batch, du):
    """The running mean of du: of the whole class while shared, then of each image."""
    shared = jnp.broadcast_to(du.mean(axis=0, keepdims=True), state.delta.shape)
    own = state.velocity.at[batch.rows].set(du)
    now = jnp.where(state.step < num_shared_steps, shared, own)
    mean = momentum * state.velocity + (1.0 - momentum) * now
    return jnp.where(moves(state, batch), mean, state.velocity)

  def moves(state, batch):
    """Which images the step moves, `[n, 1, 1, 1]`: all while shared, then the batch's."""
    in_batch = jnp.zeros(len(state.delta), bool).at[batch.rows].set(True)
    return ((state.step < num_shared_steps) | in_batch)[:, None, None, None]

  return Attack(init, restart, step)
