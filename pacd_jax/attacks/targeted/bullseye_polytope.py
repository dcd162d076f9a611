"""Bullseye polytope: poisons whose mean features are the target's."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import perturbation, types
from pacd_jax.attacks.movement import poisoned_images

_AT_ONCE = 20  # Steps between two calls of `on_steps`.
_TINY = 1e-12


class _Settings(NamedTuple):
  features: types.ApplyFn
  epsilon: float
  norm: str


def bullseye_polytope(
  features: types.ApplyFn,
  networks: Sequence[types.Params],
  target: types.Array,
  base_images: types.Array,
  on_steps: Callable[[int, types.Aux], None] = lambda done, values: None,
  *,
  epsilon: float,
  norm: str,
  num_steps: int,
  learning_rate: float = 0.04,
) -> np.ndarray:
  """Moves all base images so that the mean of their features is the target's.

    min_p  1/2 sum_m |f_m(t) - 1/n sum_i f_m(p_i)|^2 / |f_m(t)|^2,  |p_i - x_i| <= epsilon

  Equation 3 of Aghakhani et al. (2021), https://arxiv.org/abs/2005.00191, with the sum's
  mean over the networks m: the target is then in the middle of the poisons' features,
  not only in their convex hull, as in the convex polytope attack of Zhu et al. (2019). By
  Adam, projected to the budget and the box after every step.

  Args:
    features: f, of a network.
    networks: the parameters of each network m.
    target: t, `[H, W, C]` in [0, 1].
    base_images: x, `[n, H, W, C]` in [0, 1].
    on_steps: called every few steps with the number of steps done and the objective, as
      "loss"; an exception that it raises ends the attack.
    epsilon: budget of one image's perturbation, image units.
    norm: of the budget, "linf" or "l2".
    num_steps: steps of Adam.
    learning_rate: Adam's, image units.

  Returns:
    float32 `[n, H, W, C]` in [0, 1] and in the budget.
  """
  chex.assert_rank([target, base_images], [3, 4])
  settings = _Settings(features, epsilon, norm)
  stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *networks)
  state = base_images, optax.scale_by_adam().init(base_images)
  for done in range(0, num_steps, _AT_ONCE):
    steps = min(_AT_ONCE, num_steps - done)
    state, loss = _run(settings, stacked, target, base_images, state, steps, learning_rate)
    on_steps(done + steps, {"loss": loss})
  return np.asarray(state[0])


def mean_distance(
  features: types.ApplyFn, networks: types.Params, target: types.Array, images: types.Array
) -> types.Scalar:
  """The objective at `images`; the networks' parameters are stacked, leaves `[M, ...]`."""
  chex.assert_rank([target, images], [3, 4])

  def of_one(params):
    wanted = features(params, target[None])[0]
    middle = features(params, images).mean(axis=0)
    scale = jnp.maximum(jnp.sum(wanted**2), _TINY)
    return 0.5 * jnp.sum((wanted - middle) ** 2) / scale

  num = len(jax.tree.leaves(networks)[0])
  each = [of_one(jax.tree.map(lambda leaf, m=m: leaf[m], networks)) for m in range(num)]
  return jnp.stack(each).mean()


@functools.partial(jax.jit, static_argnums=0)
def _run(settings, networks, target, base_images, state, num_steps, learning_rate):
  """Takes so many steps; returns the objective at their end, too."""

  def distance(images):
    return mean_distance(settings.features, networks, target, images)

  def step(_, state):
    images, moments = state
    updates, moments = optax.scale_by_adam().update(jax.grad(distance)(images), moments)
    delta = perturbation.project(
      images - learning_rate * updates - base_images,
      epsilon=settings.epsilon,
      norm=settings.norm,
    )
    return poisoned_images(base_images, delta), moments

  state = jax.lax.fori_loop(0, num_steps, step, state)
  return state, distance(state[0])
