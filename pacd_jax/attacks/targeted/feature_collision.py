"""Feature collision: poisons whose features are the target's, near their base images.

Algorithm 1 of Shafahi et al. (2018), https://arxiv.org/abs/1804.00792 (poison frogs).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import perturbation, types
from pacd_jax.attacks.movement import poisoned_images

_AT_ONCE = 20  # Steps between two calls of `on_steps`.
_POWER_STEPS = 20  # Of the power iteration for the Lipschitz constant.
_TINY = 1e-12
_ROUNDING = 1e-6  # Of an objective in float32.


class Settings(NamedTuple):
  """The network's features, and the budget."""

  features: types.ApplyFn
  epsilon: float  # Of one image's perturbation, image units,
  norm: str  # in this norm.


class Problem(NamedTuple):
  """What forward-backward splitting minimises, for each image by itself."""

  params: types.Params  # Of the network.
  target: types.Array  # `[D]`: the target's features.
  centers: types.Array  # `[n, H, W, C]`: b, what images stay near to.
  base_images: types.Array  # `[n, H, W, C]`: x, what the budget is around.
  beta: types.Array | float  # beta'.


class State(NamedTuple):
  """Images between two steps."""

  images: types.Array  # `[n, H, W, C]`.
  objective: types.Array  # `[n]`, at them.
  gradient: types.Array  # `[n, H, W, C]`, of the first term.
  step_size: types.Array  # `[n]`.


def feature_collision(
  features: types.ApplyFn,
  params: types.Params,
  target: types.Array,
  base_images: types.Array,
  on_steps: Callable[[int, types.Aux], None] = lambda done, values: None,
  *,
  epsilon: float,
  norm: str,
  num_steps: int,
  beta: float = 0.25,
  step_size: float = 1.0,
  opacity: float = 0.0,
) -> np.ndarray:
  """Moves each base image so that its features meet the target's.

    p_i = argmin_x 1/2 |f(x) - f(t)|^2 + beta' / 2 |x - b_i|^2,  |x - x_i| <= epsilon

  by forward-backward splitting (`step`). beta' = beta (D / d)^2 with D features and d
  pixel values, as in the authors' code, and b_i = x_i, or with the watermark of their
  section 4 b_i = x_i + P(opacity (t - x_i)), P the projection to the budget, from which it
  starts. (Their budget is beta alone.)

  Args:
    features: f, of a network.
    params: its parameters.
    target: t, `[H, W, C]` in [0, 1].
    base_images: x, `[n, H, W, C]` in [0, 1].
    on_steps: called every few steps with the number of steps done and the mean of
      |f(p_i) - f(t)|^2 / |f(t)|^2, as "loss"; an exception that it raises ends the attack.
    epsilon: budget of one image's perturbation, image units.
    norm: of the budget, "linf" or "l2".
    num_steps: steps of the splitting.
    beta: weight of the distance to the base images, at least 0.
    step_size: of the first step, in (0, 1], as a share of 1 / L.
    opacity: of the target in the watermark, in [0, 1].

  Returns:
    float32 `[n, H, W, C]` in [0, 1] and in the budget.
  """
  chex.assert_rank([target, base_images], [3, 4])
  target_features = features(params, target[None])[0]
  weight = beta * (target_features.size / target.size) ** 2
  marked = watermarked(base_images, target, opacity, epsilon=epsilon, norm=norm)
  settings = Settings(features, epsilon, norm)
  problem = Problem(params, target_features, marked, base_images, weight)
  state = init(settings, problem, step_size)
  scale = jnp.maximum(jnp.sum(target_features**2), _TINY)
  for done in range(0, num_steps, _AT_ONCE):
    steps = min(_AT_ONCE, num_steps - done)
    state = run(settings, problem, state, steps)
    apart = 2.0 * (state.objective - _nearness(problem, state.images)).mean() / scale
    on_steps(done + steps, {"loss": apart})
  return np.asarray(state.images)


def watermarked(
  base_images: types.Array,
  target: types.Array,
  opacity: float,
  *,
  epsilon: float,
  norm: str,
) -> types.Array:
  """x + P(opacity (t - x)), `[n, H, W, C]`: the target faintly over each base image."""
  chex.assert_rank([base_images, target], [4, 3])
  blend = opacity * (target[None] - base_images)
  return base_images + perturbation.project(blend, epsilon=epsilon, norm=norm)


def lipschitz(
  features: types.ApplyFn, params: types.Params, images: types.Array
) -> types.Array:
  """L = |J|_2^2 at each image, `[n]`, J the Jacobian of its features: by power iteration.

  For features that are linear in the image it is the Lipschitz constant of the gradient of
  1/2 |f(x) - f(t)|^2, up to what the iteration leaves.
  """
  chex.assert_rank(images, 4)

  def of_batch(images):
    return features(params, images)

  _, pull = jax.vjp(of_batch, images)

  def norms(vectors):
    return jnp.sqrt(jnp.sum(vectors**2, axis=(1, 2, 3)))

  def once(_, carry):
    vectors, _ = carry
    unit = vectors / jnp.maximum(norms(vectors), _TINY)[:, None, None, None]
    product = pull(jax.jvp(of_batch, (images,), (unit,))[1])[0]
    return product, norms(product)

  first = jax.random.normal(jax.random.key(0), images.shape, jnp.float32)
  zero = jnp.zeros(len(images), jnp.float32)
  return jax.lax.fori_loop(0, _POWER_STEPS, once, (first, zero))[1]


def step(settings: Settings, problem: Problem, state: State) -> State:
  """One step of forward-backward splitting, of each image by itself.

    forward   z = x - lambda J(x)'(f(x) - f(t))
    backward  x = P((z + lambda beta' b) / (1 + lambda beta'))

  P is the projection to the budget and the box: for l_inf the backward step is the proximal
  operator of all that is not f's. With lambda <= 1 / L the objective does not rise. L of a
  network is known at one point alone, so a step under which it would rise is not taken, and
  the image's lambda halved.
  """
  size = state.step_size[:, None, None, None]
  forward = state.images - size * state.gradient
  shrunk = (forward + size * problem.beta * problem.centers) / (1.0 + size * problem.beta)
  delta = perturbation.project(
    shrunk - problem.base_images, epsilon=settings.epsilon, norm=settings.norm
  )
  moved = poisoned_images(problem.base_images, delta)
  objective, gradient = _evaluate(settings, problem, moved)
  falls = objective <= state.objective * (1.0 + _ROUNDING)
  taken = falls[:, None, None, None]
  return State(
    jnp.where(taken, moved, state.images),
    jnp.where(falls, objective, state.objective),
    jnp.where(taken, gradient, state.gradient),
    jnp.where(falls, 1.0, 0.5) * state.step_size,
  )


@functools.partial(jax.jit, static_argnums=0)
def init(settings: Settings, problem: Problem, step_size: float | types.Array) -> State:
  """The state at the centres; its steps are `step_size` / L of each image."""
  images = problem.centers
  constant = lipschitz(settings.features, problem.params, images)
  objective, gradient = _evaluate(settings, problem, images)
  return State(images, objective, gradient, step_size / jnp.maximum(constant, _TINY))


@functools.partial(jax.jit, static_argnums=0)
def run(
  settings: Settings, problem: Problem, state: State, num_steps: int | types.Array
) -> State:
  """Takes so many steps."""
  return jax.lax.fori_loop(
    0, num_steps, lambda _, state: step(settings, problem, state), state
  )


def _evaluate(settings, problem, images):
  """The objective of each image, `[n]`, and the gradient of its first term."""

  def apart(images):
    difference = settings.features(problem.params, images) - problem.target[None]
    of_each = 0.5 * jnp.sum(difference**2, axis=1)
    return of_each.sum(), of_each

  gradient, of_each = jax.grad(apart, has_aux=True)(images)
  return of_each + _nearness(problem, images), gradient


def _nearness(problem, images):
  return 0.5 * problem.beta * jnp.sum((images - problem.centers) ** 2, axis=(1, 2, 3))
