"""PACD: Algorithm 1 of Mehra et al. (2021), https://arxiv.org/abs/2012.01274.

  min_u  R(D_val; theta*)   s.t.  |u_i - x_i| <= epsilon,
         theta* = argmin_theta L_robust(D_clean u D_poison; theta)

R is the average certified radius of the target class, or another objective. The state is
one pytree and a step is one pure function, so the caller's loop only logs and saves.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from pacd_jax import perturbation, types
from pacd_jax.attacks import problem


class AttackState(NamedTuple):
  """Everything that a step changes."""

  step: types.Array  # `[]` int32: outer steps done.
  params: types.Params  # theta of the surrogate, the lower level's current solution.
  opt_state: optax.OptState
  age: types.Array  # `[]` int32: optimiser steps of this surrogate.
  delta: types.Array  # `[n, H, W, C]`: u - x of every target image.
  velocity: types.Array  # `[n, H, W, C]`: running mean of its hypergradients.


class Attack(NamedTuple):
  """An attack as pure functions; `key` is the whole run's: folded, never consumed."""

  # `init(data, key, start)`: `start` is the first perturbation, `[1 or n, H, W, C]`.
  init: Callable[[problem.AttackData, types.Key, types.Array | None], AttackState]
  # `restart(state, data, key)`: a fresh surrogate, warmed up on the poison as it stands.
  restart: Callable[[AttackState, problem.AttackData, types.Key], AttackState]
  # `step(state, data, key) -> (state, metrics)`: one outer step.
  step: Callable[
    [AttackState, problem.AttackData, types.Key], tuple[AttackState, types.Aux]
  ]


def poisoned_images(base_images: types.Array, delta: types.Array) -> types.Array:
  """u = clip(x + delta) to the box [0, 1]."""
  return jnp.clip(base_images + delta, 0.0, 1.0)


def make(settings: problem.Settings) -> Attack:
  """Binds the attack's functions to its settings."""
  return Attack(*(functools.partial(f, settings) for f in (init, restart, step)))


def init(
  settings: problem.Settings,
  attack_data: problem.AttackData,
  key: types.Key,
  start: types.Array | None = None,
) -> AttackState:
  """The state before the first step; `start` is `[1 or n, H, W, C]`, None for zero."""
  shape = attack_data.base_images.shape[1:]
  params = settings.model.init(jax.random.fold_in(key, problem.INIT), shape)
  zero = jnp.zeros_like(attack_data.base_images)
  delta = zero if start is None else zero + start
  opt_state = settings.optimizer.init(params)
  return AttackState(jnp.int32(0), params, opt_state, jnp.int32(0), delta, zero)


def restart(
  settings: problem.Settings,
  state: AttackState,
  attack_data: problem.AttackData,
  key: types.Key,
) -> AttackState:
  """A fresh surrogate, trained for `warmup_steps` on the poison as it stands."""
  restart_key = problem.fold(key, problem.RESTART, state.step)
  shape = state.delta.shape[1:]
  params = settings.model.init(jax.random.fold_in(restart_key, problem.INIT), shape)
  images = poisoned_images(attack_data.base_images, state.delta)

  def update(t, carry):
    params, opt_state = carry
    batch = problem.draw_batch(settings, attack_data, restart_key, t, key)
    noise_key = problem.fold(restart_key, problem.LOWER_NOISE, t)
    poison = images[batch.rows]
    inputs = problem.attacked(settings, batch, params, poison, noise_key, t)
    lower = problem.lower_level(settings, batch, noise_key, inputs)
    return _descend(settings, lower, params, opt_state, poison)[:2]

  carry = params, settings.optimizer.init(params)
  params, opt_state = jax.lax.fori_loop(0, settings.warmup_steps, update, carry)
  age = jnp.int32(settings.warmup_steps)
  return state._replace(params=params, opt_state=opt_state, age=age)


def step(
  settings: problem.Settings,
  state: AttackState,
  attack_data: problem.AttackData,
  key: types.Key,
) -> tuple[AttackState, types.Aux]:
  """One outer step of Algorithm 1: lower level, upper level, hypergradient, poison.

  Returns:
    The next state, and to log: `upper` (xi), `lower` (zeta), the norm of du, and how the
    linear solve went (`SolveInfo`).
  """
  batch = problem.draw_batch(settings, attack_data, key, state.step, key)
  poison = poisoned_images(attack_data.base_images[batch.rows], state.delta[batch.rows])
  noise_key = problem.fold(key, problem.LOWER_NOISE, state.step)
  first_key = jax.random.fold_in(noise_key, 0)
  inputs = problem.attacked(settings, batch, state.params, poison, first_key, state.age)

  # theta: T1 steps of the victim's training on the poisoned batch.
  def update(t, carry):
    lower = problem.lower_level(settings, batch, jax.random.fold_in(noise_key, t), inputs)
    return _descend(settings, lower, *carry[:2], poison)

  carry = state.params, state.opt_state, jnp.float32(0.0)
  params, opt_state, zeta = jax.lax.fori_loop(0, settings.lower_steps, update, carry)

  # du: the hypergradient of the objective, such as the target class's ACR (ApproxGrad).
  upper = problem.upper_level(settings, attack_data, key, state.step)
  last_key = jax.random.fold_in(noise_key, settings.lower_steps)
  lower = problem.lower_level(settings, batch, last_key, inputs)
  xi = upper(params, poison)
  du, info = settings.hypergradient(upper, lower, params, poison, None)

  # u: one step down, back into the ball and the box.
  delta, velocity = _move(settings, state, attack_data, batch, du)

  metrics = {"upper": xi, "lower": zeta, "gradient_norm": jnp.sqrt(jnp.sum(du**2))}
  age = state.age + settings.lower_steps
  state = AttackState(state.step + 1, params, opt_state, age, delta, velocity)
  return state, metrics | info.solve._asdict()


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
