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

from pacd_jax import types
from pacd_jax.attacks import filter_penalty, movement, problem, surrogates
from pacd_jax.attacks.movement import poisoned_images


class AttackState(NamedTuple):
  """Everything that a step changes; its shapes are the same after every step."""

  step: types.Array  # `[]` int32: outer steps done.
  surrogates: surrogates.Surrogate  # M surrogates; every leaf has the leading axis `[M]`.
  delta: types.Array  # `[n, H, W, C]`: u - x of every target image.
  memory: movement.Memory  # Running means of the hypergradients.


class Attack(NamedTuple):
  """An attack as pure functions; `key` is the run's key, folded and never consumed."""

  # `init(data, key, start)`: `start` is the initial perturbation, `[1 or n, H, W, C]`.
  init: Callable[[problem.AttackData, types.Key, types.Array | None], AttackState]
  # `restart(state, data, key, member, age)`: replaces one surrogate by a fresh one, trained
  # on the current poison for the warm-up and as long as `age` outer steps would.
  restart: Callable[..., AttackState]
  # `step(state, data, key) -> (state, metrics)`: one outer step.
  step: Callable[
    [AttackState, problem.AttackData, types.Key], tuple[AttackState, types.Aux]
  ]


def make(settings: problem.Settings) -> Attack:
  """Returns the attack's functions with its settings bound."""
  return Attack(
    functools.partial(init, settings),
    functools.partial(restart, settings),
    functools.partial(step, settings),
  )


def init(
  settings: problem.Settings,
  attack_data: problem.AttackData,
  key: types.Key,
  start: types.Array | None = None,
) -> AttackState:
  """The state before the first step; `start` is `[1 or n, H, W, C]`, None for zero."""
  base = attack_data.base_images
  first = surrogates.init(settings, base.shape[1:], key)
  delta = jnp.zeros_like(base) if start is None else jnp.zeros_like(base) + start
  several = jax.tree.map(
    lambda leaf: jnp.repeat(leaf[None], settings.num_surrogates, axis=0), first
  )
  return AttackState(jnp.int32(0), several, delta, movement.init(settings, base))


def restart(
  settings: problem.Settings,
  state: AttackState,
  attack_data: problem.AttackData,
  key: types.Key,
  member: types.Array | int = 0,
  age: types.Array | int = 0,
) -> AttackState:
  """Replaces surrogate `member` by one trained on the poison, `age` outer steps old.

  The fresh surrogate takes `warmup_steps` and `age * lower_steps` optimiser steps.
  """
  number = state.step * settings.num_surrogates + member
  restart_key = problem.fold(key, problem.RESTART, number)
  fresh, _ = surrogates.train(
    settings,
    surrogates.init(settings, state.delta.shape[1:], restart_key),
    attack_data,
    poisoned_images(attack_data.base_images, state.delta),
    restart_key,
    key,
    settings.warmup_steps + age * settings.lower_steps,
  )
  several = jax.tree.map(lambda all, one: all.at[member].set(one), state.surrogates, fresh)
  memory = state.memory
  if settings.step_rule.of_places:  # A restart begins all moments anew, as the authors'.
    memory = movement.init(settings, attack_data.base_images)
  return state._replace(surrogates=several, memory=memory)


def step(
  settings: problem.Settings,
  state: AttackState,
  attack_data: problem.AttackData,
  key: types.Key,
) -> tuple[AttackState, types.Aux]:
  """One outer step of Algorithm 1: lower level, upper level, hypergradient, poison.

  Returns:
    The next state, and metrics: the means over the surrogates of `upper` (xi), `lower`
    (zeta) and the fields of `SolveInfo` (the least `min_curvature`), and the norm of du.
  """
  batch = problem.draw_batch(settings, attack_data, key, state.step, key)
  base = attack_data.base_images[batch.rows]
  poison = poisoned_images(base, state.delta[batch.rows])

  def one(member, surrogate):
    number = state.step * settings.num_surrogates + member
    upper = problem.upper_level(settings, attack_data, key, number)
    upper = filter_penalty.added(settings.penalties, upper, base)
    return _through(settings, batch, key, state.step, member, surrogate, upper, poison)

  members = jnp.arange(settings.num_surrogates)
  several, du, metrics = surrogates.each(settings, one, members, state.surrogates)
  du = du.mean(axis=0)
  # u: one descent step, projected to the ball and the box.
  delta, memory = movement.move(
    settings,
    state.step,
    state.memory,
    state.delta,
    attack_data.base_images,
    batch.rows,
    du,
  )
  logged = {name: value.mean(axis=0) for name, value in metrics.items()}
  if "min_curvature" in metrics:
    logged["min_curvature"] = metrics["min_curvature"].min()
  logged["gradient_norm"] = jnp.sqrt(jnp.sum(du**2))
  return AttackState(state.step + 1, several, delta, memory), logged


def _through(settings, batch, key, step_number, member, surrogate, upper, poison):
  """One surrogate's part of a step: (the surrogate, du, its metrics)."""
  noise_key = problem.fold(key, problem.LOWER_NOISE, step_number)
  first = member * (settings.lower_steps + 1)  # Each surrogate has its own noise.
  inputs = problem.attacked(
    settings,
    batch,
    surrogate.params,
    poison,
    jax.random.fold_in(noise_key, first),
    surrogate.age,
  )

  def lower_level(t):
    fixed = jax.random.fold_in(noise_key, first + t)
    return problem.lower_level(settings, batch, fixed, inputs)

  # theta: T1 steps of the victim's training on the poisoned batch.
  surrogate, zeta = jax.lax.fori_loop(
    0,
    settings.lower_steps,
    lambda t, carry: surrogates.descend(settings, lower_level(t), carry[0], poison),
    (surrogate, jnp.float32(0.0)),
  )
  # du: the hypergradient of the objective, such as the target class's ACR (ApproxGrad).
  xi = upper(surrogate.params, poison)
  redraw_key = problem.fold(
    key, problem.LOWER_REDRAW, step_number * settings.num_surrogates + member
  )

  def redrawn(number):
    return problem.lower_level(
      settings, batch, jax.random.fold_in(redraw_key, number), inputs
    )

  du, info = settings.hypergradient(
    upper,
    lower_level(settings.lower_steps)._replace(redraw=redrawn),
    surrogate.params,
    poison,
    surrogate.solved,
  )
  if settings.normalize:
    du = _normalized(du)
  if settings.first_start:
    solved = info.adjoint if info.carry is None else info.carry
    surrogate = surrogate._replace(solved=solved)
  solved = {name: v for name, v in info.solve._asdict().items() if v is not None}
  return surrogate, du, {"upper": xi, "lower": zeta} | solved


def _normalized(du):
  """du / |du|, 0 for du = 0; divided by its largest entry first, as squares underflow."""
  largest = jnp.abs(du).max()
  du = du / jnp.where(largest > jnp.finfo(du.dtype).tiny, largest, 1.0)
  return du / jnp.maximum(jnp.sqrt(jnp.sum(du**2)), 1.0)
