"""The attacker's models of the victim: solutions of the lower level, each of its own age.

One surrogate is one local solution, met at one moment of its training; fresh victims are
others. So an attack may keep several, restarted in turn: their ages are staggered, and
the poison answers to all of them.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from pacd_jax import types
from pacd_jax.attacks import problem


class Surrogate(NamedTuple):
  """One model of the victim, or several with the leading axis `[M]` on every leaf."""

  params: types.Params  # theta, the lower level's current solution.
  opt_state: optax.OptState
  age: types.Array  # int32: optimiser steps since it was fresh.
  adjoint: types.Params | None  # Of the last hypergradient: the next solve's warm start.


def init(settings: problem.Settings, shape: tuple[int, ...], key: types.Key) -> Surrogate:
  """A fresh one, untrained; the key is folded, not consumed."""
  height, width, channels = shape
  init_key = jax.random.fold_in(key, problem.INIT)
  params = settings.model.init(init_key, (height, width, channels))
  adjoint = jax.tree.map(jnp.zeros_like, params) if settings.warm_start else None
  return Surrogate(params, settings.optimizer.init(params), jnp.int32(0), adjoint)


@functools.partial(jax.jit, static_argnums=0)
def train(
  settings: problem.Settings,
  surrogate: Surrogate,
  attack_data: problem.AttackData,
  images: types.Array,
  order_key: types.Key,
  key: types.Key,
  num_steps: int | types.Array,
) -> tuple[Surrogate, types.Scalar]:
  """So many steps of the training that the attack assumes of its victims.

    theta <- theta - Adam(grad_theta L_robust(D_clean u D_poison; theta)), by mini-batches

  Args:
    settings: the attack's: loss, optimiser, batches, augmentation.
    surrogate: where it stands; steps are counted, and drawn, by its age.
    attack_data: the other classes are trained on as they are,
    images: and the target class as it is here, float32 `[n, H, W, C]`.
    order_key: of the surrogate's batches and noise: folded, not consumed.
    key: of the run, whose noise is the same in all surrogates where it is fixed.
    num_steps: how many.

  Returns:
    The surrogate after them, and the mean of their losses, 0 after none.
  """

  def step(_, carry):
    surrogate, total = carry
    age = surrogate.age
    batch = problem.draw_batch(settings, attack_data, order_key, age, key)
    noise_key = problem.fold(order_key, problem.LOWER_NOISE, age)
    poison = images[batch.rows]
    inputs = problem.attacked(settings, batch, surrogate.params, poison, noise_key, age)
    lower = problem.lower_level(settings, batch, noise_key, inputs)
    surrogate, value = descend(settings, lower, surrogate, poison)
    return surrogate, total + value

  surrogate, total = jax.lax.fori_loop(0, num_steps, step, (surrogate, jnp.float32(0.0)))
  return surrogate, total / jnp.maximum(num_steps, 1)


def descend(
  settings: problem.Settings,
  lower: types.LowerLevel,
  surrogate: Surrogate,
  poison: types.Array,
) -> tuple[Surrogate, types.Array]:
  """One optimiser step on the lower level, and its value before."""
  value, gradient = jax.value_and_grad(lower)(surrogate.params, poison)
  updates, opt_state = settings.optimizer.update(
    gradient, surrogate.opt_state, surrogate.params
  )
  params = optax.apply_updates(surrogate.params, updates)
  return Surrogate(params, opt_state, surrogate.age + 1, surrogate.adjoint), value


def each(settings: problem.Settings, function: Callable[..., Any], *arguments: Any) -> Any:
  """The function of every surrogate, mapped over the leading axes: `vmap`, by chunks.

  A batch of one is not one of several: convolutions stay plain ones.
  """
  at_once = settings.surrogates_at_once or settings.num_surrogates
  if settings.num_surrogates == 1:
    one = function(*jax.tree.map(lambda leaf: leaf[0], arguments))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], one)
  if at_once >= settings.num_surrogates:
    return jax.vmap(function)(*arguments)
  batch_size = None if at_once == 1 else at_once
  return jax.lax.map(lambda xs: function(*xs), arguments, batch_size=batch_size)


def due(number: int, *, restart_every: int, num_surrogates: int) -> list[tuple[int, int]]:
  """Which surrogates are restarted before an outer step: (which one, how old it is made).

  Ages are in outer steps. Surrogate m of M is m / M of a life ahead, from the first step
  on, when all of them are made.
  """
  ahead = [m * restart_every // num_surrogates for m in range(num_surrogates)]
  if number == 0:
    return list(enumerate(ahead))
  return [(m, 0) for m, age in enumerate(ahead) if (number + age) % restart_every == 0]
