"""Steps of the poison along its hypergradients: shared or per image, within the budget."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import perturbation, types
from pacd_jax.attacks import problem
from pacd_jax.attacks.step_rules import DECAY_OF_SQUARES, Memory, of_images

_PROJECTIONS = 10  # Of a step with `zero_mean`, on the mean, the ball and the box in turn.


def init(settings: problem.Settings, base_images: types.Array) -> Memory:
  """The memory before the first step: all zero."""
  number = settings.poison_batch if settings.step_rule.of_places else len(base_images)
  zero = jnp.zeros((number, *base_images.shape[1:]), base_images.dtype)
  second = zero if settings.step_rule.keeps_squares else None
  return Memory(zero, second, jnp.zeros(number, jnp.int32))


def poisoned_images(
  base_images: types.Array, delta: types.Array | np.ndarray
) -> types.Array:
  """u = x + delta, clipped to the box [0, 1]."""
  chex.assert_rank([base_images, delta], 4)
  return jnp.clip(base_images + delta, 0.0, 1.0)


def to_corners(
  base_images: types.Array,
  delta: types.Array | np.ndarray,
  *,
  epsilon: float,
  shared: bool,
) -> types.Array:
  """The corner of the l_inf budget that a perturbation points to, where the box has room.

    c_j = epsilon sign(delta_j), or minus that where the box leaves less than half as much
    room on its side: mean_i |clip(x_ij + c_j) - x_ij| < 1/2 mean_i |clip(x_ij - c_j)
    - x_ij|, the mean over the class if it shares a perturbation, else for each image alone

  In the linear case optima are at the ends of the budget (Theorem 1 of Mehra et al., 2021).
  On networks, descent moves towards the nearer end even where the box excludes it, as for a
  black pixel that should become darker, and never finds the other end. For delta_j = 0,
  c_j is epsilon before that comparison.

  Args:
    base_images: `[n, H, W, C]`.
    delta: `[n, H, W, C]`.
    epsilon: budget in image units.
    shared: whether the class shares one perturbation, for which the mean of delta is taken.

  Returns:
    `[1 if shared else n, H, W, C]`, every entry -epsilon or epsilon.
  """
  chex.assert_rank([base_images, delta], 4)

  def pooled(values):
    return values.mean(axis=0, keepdims=True) if shared else values

  def room(side):
    return pooled(jnp.abs(poisoned_images(base_images, side) - base_images))

  corner = jnp.where(pooled(delta) < 0, -epsilon, epsilon)
  return jnp.where(2.0 * room(corner) < room(-corner), -corner, corner)


def move(
  settings: problem.Settings,
  step_number: types.Array,
  memory: Memory,
  delta: types.Array,
  base_images: types.Array,
  rows: types.Array,
  du: types.Array,
) -> tuple[types.Array, Memory]:
  """Takes one descent step, projected to the ball and the box; returns (delta, memory).

  In the first `num_shared_steps` steps every image moves along the batch's mean
  hypergradient, delta itself is projected to the ball alone, and images are clipped to the
  box where they are used (du is taken at the clipped images and passed straight through the
  clipping). In later steps the batch's images move, each along its own hypergradient and
  within the box. With `num_frequencies`, du and the step are restricted to that many
  frequencies of each axis; projecting delta can add others. With `zero_mean`, what all
  images share is taken off every one, so that the class's mean stays where it was but for
  what ball and box leave of it.

  Args:
    settings: the attack's settings of the step, and its budget.
    step_number: `[]`, number of the outer step.
    memory: the memory of the steps before.
    delta: `[n, H, W, C]`.
    base_images: `[n, H, W, C]`.
    rows: `[p]`, positions of the batch's images.
    du: `[p, H, W, C]`, their hypergradients.
  """
  shared = step_number < settings.num_shared_steps
  in_batch = jnp.zeros(len(delta), bool).at[rows].set(True)
  moves = shared | in_batch
  if settings.num_frequencies:
    du = perturbation.low_pass(du, settings.num_frequencies)
  if settings.step_rule.of_places:
    memory = _remember(settings, memory, du, jnp.ones(len(rows), bool))
  else:
    mean = jnp.broadcast_to(du.mean(axis=0, keepdims=True), delta.shape)
    now = jnp.where(shared, mean, jnp.zeros_like(delta).at[rows].set(du))
    memory = _remember(settings, memory, now, moves)
  direction = settings.step_rule.direction(memory, settings.momentum, settings.norm)
  if settings.step_rule.of_places:
    direction = jnp.zeros_like(delta).at[rows].set(direction)
  if settings.num_frequencies:  # The signs of du have all frequencies again.
    direction = perturbation.low_pass(direction, settings.num_frequencies)
  length = settings.step_size(step_number)
  delta = delta - length * jnp.where(of_images(moves), direction, 0.0)
  delta = perturbation.project(delta, epsilon=settings.epsilon, norm=settings.norm)
  inside = poisoned_images(base_images, delta) - base_images
  if settings.zero_mean:
    inside = _without_mean(settings, base_images, inside)
  return jnp.where(shared, delta, inside), memory


def _without_mean(
  settings: problem.Settings, base_images: types.Array, delta: types.Array
) -> types.Array:
  """Alternating projections on mean 0 over the images, on the ball, and on the box."""

  def once(_, delta):
    centred = delta - delta.mean(axis=0, keepdims=True)
    kept = perturbation.project(centred, epsilon=settings.epsilon, norm=settings.norm)
    return poisoned_images(base_images, kept) - base_images

  return jax.lax.fori_loop(0, _PROJECTIONS, once, delta)


def _remember(settings, memory, now, moves):
  """Updates the running means of the images that move."""

  def mean(past, value, decay):
    average = decay * past + (1.0 - decay) * value
    return jnp.where(of_images(moves), average, past)

  second = memory.second
  if second is not None:
    second = mean(second, now**2, DECAY_OF_SQUARES)
  return Memory(mean(memory.first, now, settings.momentum), second, memory.count + moves)
