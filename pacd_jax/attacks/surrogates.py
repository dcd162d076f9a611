"""Surrogates: the attacker's models of the victim, solutions of the lower level.

One surrogate is one local solution at one moment of its training, and a victim trained from
scratch ends in another. So an attack may keep several surrogates, restarted in turn, so
that their ages are staggered, and take the mean of their hypergradients.
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
  """One surrogate, or several with the leading axis `[M]` on every leaf."""

  params: types.Params  # theta, the lower level's current solution.
  opt_state: optax.OptState
  age: types.Array  # int32: optimiser steps since its initialisation.
  solved: Any  # What the last solve hands to the next; None: each starts from zero.


# A term beside the loss: `term(params, poison, labels, key)`, of images `[p, H, W, C]`.
TermFn = Callable[[types.Params, types.Array, types.Array, types.Key], types.Scalar]


def init(settings: problem.Settings, shape: tuple[int, ...], key: types.Key) -> Surrogate:
  """An untrained surrogate; the key is folded, not consumed."""
  height, width, channels = shape
  init_key = jax.random.fold_in(key, problem.INIT)
  params = settings.model.init(init_key, (height, width, channels))
  solved = settings.first_start(params) if settings.first_start else None
  return Surrogate(params, settings.optimizer.init(params), jnp.int32(0), solved)


@functools.partial(jax.jit, static_argnums=0, static_argnames="term")
def train(
  settings: problem.Settings,
  surrogate: Surrogate,
  attack_data: problem.AttackData,
  images: types.Array,
  order_key: types.Key,
  key: types.Key,
  num_steps: int | types.Array,
  *,
  term: TermFn | None = None,
) -> tuple[Surrogate, types.Scalar]:
  """Trains a surrogate for `num_steps` steps, as the attack assumes victims to train.

    theta <- theta - Adam(grad_theta L_robust(D_clean u D_poison; theta)), by mini-batches

  Args:
    settings: the attack's loss, optimiser, batches and augmentation.
    surrogate: the surrogate to start from; its age numbers the steps and their draws.
    attack_data: data whose clean images are trained on.
    images: float32 `[n, H, W, C]`, trained on in the place of the base images.
    order_key: key of the surrogate's batches and noise; folded, not consumed.
    key: key of the run, which gives fixed noise, the same for all surrogates.
    num_steps: number of steps.
    term: added to the loss of each mini-batch; None: nothing.

  Returns:
    The trained surrogate, and the mean loss over the steps, 0 if there were none.
  """

  def step(_, carry):
    surrogate, total = carry
    age = surrogate.age
    batch = problem.draw_batch(settings, attack_data, order_key, age, key)
    noise_key = problem.fold(order_key, problem.LOWER_NOISE, age)
    poison = images[batch.rows]
    inputs = problem.attacked(settings, batch, surrogate.params, poison, noise_key, age)
    lower = problem.lower_level(settings, batch, noise_key, inputs)
    lower = with_term(term, lower, batch, noise_key)
    surrogate, value = descend(settings, lower, surrogate, poison)
    return surrogate, total + value

  surrogate, total = jax.lax.fori_loop(0, num_steps, step, (surrogate, jnp.float32(0.0)))
  return surrogate, total / jnp.maximum(num_steps, 1)


def with_term(
  term: TermFn | None, lower: types.UpperFn, batch: problem.Batch, key: types.Key
) -> types.UpperFn:
  """A batch's loss plus a term of its poisoned images, which is of these as they are.

  A transform, an augmentation and a mixing of the settings are in the loss alone. The term
  gets the key of the step, not those of fixed noise: its noise is another draw.
  """
  if term is None:
    return lower
  labels = batch.labels[len(batch.images) :]

  def value(params, poison):
    # The key is reused on purpose: loss and term are one function of (theta, u).
    return lower(params, poison) + term(params, poison, labels, jax.random.clone(key))

  return value


def descend(
  settings: problem.Settings,
  lower: types.UpperFn,
  surrogate: Surrogate,
  poison: types.Array,
) -> tuple[Surrogate, types.Array]:
  """Takes one optimiser step on the lower level; returns its value before the step too."""
  value, gradient = jax.value_and_grad(lower)(surrogate.params, poison)
  updates, opt_state = settings.optimizer.update(
    gradient, surrogate.opt_state, surrogate.params
  )
  params = optax.apply_updates(surrogate.params, updates)
  return Surrogate(params, opt_state, surrogate.age + 1, surrogate.solved), value


def each(settings: problem.Settings, function: Callable[..., Any], *arguments: Any) -> Any:
  """Maps a function of one surrogate over the leading axes: `vmap`, in chunks.

  A single surrogate gets no batch axis, so that its convolutions are not batched.
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
  """The surrogates that are restarted before an outer step: (surrogate, its new age).

  Ages are in outer steps. At step 0 all surrogates are made, surrogate m of M with the age
  m / M of `restart_every`, so that their restarts are staggered.
  """
  ahead = [m * restart_every // num_surrogates for m in range(num_surrogates)]
  if number == 0:
    return list(enumerate(ahead))
  return [(m, 0) for m, age in enumerate(ahead) if (number + age) % restart_every == 0]
