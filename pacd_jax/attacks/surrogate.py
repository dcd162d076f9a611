"""A surrogate: a victim of the attacker's own, trained on the poison as it stands."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from pacd_jax import types
from pacd_jax.attacks import problem


class Surrogate(NamedTuple):
  """A victim between two steps of its training."""

  params: types.Params
  opt_state: optax.OptState
  age: types.Array  # `[]` int32: optimiser steps done.


def init(
  settings: problem.Settings, image_shape: tuple[int, int, int], key: types.Key
) -> Surrogate:
  """A surrogate before its first step; the key is folded, not consumed."""
  params = settings.model.init(jax.random.fold_in(key, problem.INIT), image_shape)
  return Surrogate(params, settings.optimizer.init(params), jnp.int32(0))


@functools.partial(jax.jit, static_argnums=0)
def train(
  settings: problem.Settings,
  surrogate: Surrogate,
  attack_data: problem.AttackData,
  images: types.Array,
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
    key: of the surrogate's whole training: folded, not consumed.
    num_steps: at least 1.

  Returns:
    The surrogate after them, and the mean of their losses.
  """

  def step(_, carry):
    (params, opt_state, age), total = carry
    batch = problem.draw_batch(settings, attack_data, key, age, key)
    noise_key = problem.fold(key, problem.LOWER_NOISE, age)
    poison = images[batch.rows]
    inputs = problem.attacked(settings, batch, params, poison, noise_key, age)
    lower = problem.lower_level(settings, batch, noise_key, inputs)
    value, gradient = jax.value_and_grad(lower)(params, poison)
    updates, opt_state = settings.optimizer.update(gradient, opt_state, params)
    params = optax.apply_updates(params, updates)
    return Surrogate(params, opt_state, age + 1), total + value

  surrogate, total = jax.lax.fori_loop(0, num_steps, step, (surrogate, jnp.float32(0.0)))
  return surrogate, total / num_steps
