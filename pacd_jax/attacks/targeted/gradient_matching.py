"""Gradient matching: poisons that train the victim as the mislabelled target would.

Witches' Brew, Geiping et al. (2021), https://arxiv.org/abs/2009.02276, Algorithm 1.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import perturbation, types
from pacd_jax.attacks.movement import poisoned_images

_AT_ONCE = 25  # Steps between two calls of `on_steps`.
_COPIES = 32  # Of the target, each under noise of its own, where the loss has noise.
_FALLS = (3 / 8, 5 / 8, 7 / 8)  # Of all steps: where their size becomes a tenth.
_TINY = 1e-12
_START, _NOISE, _TARGET, _END = range(4)  # Random streams, folded from the key.


class Settings(NamedTuple):
  """The victim as the attack sees it, and the budget."""

  loss: types.LossFn  # Of training.
  epsilon: float  # Of one image's perturbation, image units,
  norm: str  # in this norm.
  num_steps: int  # Of each restart.
  step_size: float  # tau, of the first steps, image units.


class _Sides(NamedTuple):
  """What the poisons' gradient is matched with."""

  params: types.Params
  mask: types.Params | None  # 1 for parameters that victims train, else 0; None: all.
  target_gradient: types.Params
  base_images: types.Array
  labels: types.Array


def gradient_matching(
  settings: Settings,
  params: types.Params,
  target: types.Array,
  base_images: types.Array,
  labels: types.Array,
  key: types.Key,
  on_steps: Callable[[int, types.Aux], None] = lambda done, values: None,
  *,
  label: int,
  num_restarts: int = 1,
  mask: types.Params | None = None,
) -> np.ndarray:
  """Aligns the gradient of the poisons' training loss with that of the target's.

    min_delta  1 - cos(grad L(t, y_adv; theta), 1/n sum_i grad L(x_i + delta_i, y_i; theta))

  |delta_i| <= epsilon, theta the parameters of a network that was trained on clean images.
  A victim's step on the poisons is then also one towards y_adv for the target. The
  derivative in delta is that of a gradient. Steps are those of Adam on the gradient's sign,
  projected to the budget and the box; of several random starts the one is kept that ends
  with the least loss. A training loss under noise has fresh noise in every step, and the
  target's gradient is the mean over some draws.

  Args:
    settings: loss, budget and steps.
    params: theta.
    target: t, `[H, W, C]` in [0, 1].
    base_images: x, `[n, H, W, C]` in [0, 1].
    labels: y, int `[n]`.
    key: folded, not consumed.
    on_steps: called every few steps with the number of steps done, out of num_steps times
      num_restarts, and the matching loss of that moment, as "loss"; an exception that it
      raises ends the attack.
    label: y_adv, the attacker's.
    num_restarts: random starts, at least 1.
    mask: like params: 1 for those that victims train, 0 for those that they keep; None:
      they train all.

  Returns:
    float32 `[n, H, W, C]` in [0, 1] and in the budget.
  """
  chex.assert_rank([target, base_images, labels], [3, 4, 1])
  aim = _target_gradient(
    settings, params, mask, target, label, jax.random.fold_in(key, _TARGET)
  )
  sides = _Sides(params, mask, aim, base_images, labels)
  # The same for all restarts: they compare.
  keys = tuple(jax.random.fold_in(key, stream) for stream in (_NOISE, _END))
  kept, least = jnp.zeros_like(base_images), np.inf
  for restart in range(num_restarts):
    own = jax.random.fold_in(jax.random.fold_in(key, _START), restart)
    state, loss = _init(settings, base_images, own), np.inf
    for done in range(0, settings.num_steps, _AT_ONCE):
      steps = min(_AT_ONCE, settings.num_steps - done)
      state, loss = _run(settings, sides, state, keys, done, steps)
      on_steps(restart * settings.num_steps + done + steps, {"loss": loss})
    if float(loss) < least:
      kept, least = state[0], float(loss)
  return np.asarray(poisoned_images(base_images, kept))


def matching_loss(one: types.Params, other: types.Params) -> types.Scalar:
  """1 - <a, b> / (|a| |b|) over all parameters, in [0, 2]; 1 where one of them is 0."""

  # Roots of each by itself: their product may underflow.
  sizes = [optax.tree.norm(tree) for tree in (one, other)]
  a, b = (
    jax.tree.map(lambda leaf, size=size: leaf / jnp.maximum(size, _TINY), tree)
    for tree, size in zip((one, other), sizes, strict=True)
  )
  return jnp.subtract(1.0, optax.tree.vdot(a, b))


def _gradient(settings, params, mask, images, labels, key):
  """The gradient in what victims train; 0 in what they keep."""
  gradient = jax.grad(lambda theta: settings.loss(theta, images, labels, key)[0])(params)
  return gradient if mask is None else jax.tree.map(jnp.multiply, gradient, mask)


@functools.partial(jax.jit, static_argnums=0)
def _target_gradient(settings, params, mask, target, label, key):
  images = jnp.broadcast_to(target, (_COPIES, *target.shape))
  labels = jnp.full(_COPIES, label, jnp.int32)
  return _gradient(settings, params, mask, images, labels, key)


@functools.partial(jax.jit, static_argnums=0)
def _init(settings, base_images, key):
  normal = jax.random.normal(key, base_images.shape, jnp.float32)
  delta = _inside(settings, base_images, settings.epsilon * normal)
  return delta, optax.scale_by_adam().init(delta)


def _inside(settings, base_images, delta):
  delta = perturbation.project(delta, epsilon=settings.epsilon, norm=settings.norm)
  return poisoned_images(base_images, delta) - base_images


@functools.partial(jax.jit, static_argnums=0)
def _run(settings, sides, state, keys, first, num_steps):
  """Takes steps from number `first` on; returns the loss at their end, too.

  The keys are those of the steps' noise, which is new in each, and of that of the loss.
  """
  noise_key, end_key = keys

  def matching(delta, own):
    images = sides.base_images + delta
    of_poisons = _gradient(settings, sides.params, sides.mask, images, sides.labels, own)
    return matching_loss(sides.target_gradient, of_poisons)

  def step(number, state):
    delta, moments = state
    own = jax.random.fold_in(noise_key, number)
    signs = jnp.sign(jax.grad(matching)(delta, own))
    updates, moments = optax.scale_by_adam().update(signs, moments)
    falls = jnp.asarray(_FALLS, jnp.float32) * settings.num_steps
    size = settings.step_size * 0.1 ** jnp.sum(number >= falls, dtype=jnp.float32)
    return _inside(settings, sides.base_images, delta - size * updates), moments

  state = jax.lax.fori_loop(first, first + num_steps, step, state)
  return state, matching(state[0], jax.random.clone(end_key))
