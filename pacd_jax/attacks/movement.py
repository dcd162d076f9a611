"""How a perturbation follows its hypergradients: its shape, and the rule of its steps."""

import chex
import jax.numpy as jnp
import numpy as np

from pacd_jax import perturbation, types
from pacd_jax.attacks import problem
from pacd_jax.attacks.step_rules import DECAY_OF_SQUARES, Memory, of_images


def init(settings: problem.Settings, base_images: types.Array) -> Memory:
  """Nothing met yet."""
  zero = jnp.zeros_like(base_images)
  second = zero if settings.step_rule.keeps_squares else None
  return Memory(zero, second, jnp.zeros(len(base_images), jnp.int32))


def poisoned_images(
  base_images: types.Array, delta: types.Array | np.ndarray
) -> types.Array:
  """u = clip(x + delta) to the box [0, 1]."""
  chex.assert_rank([base_images, delta], 4)
  return jnp.clip(base_images + delta, 0.0, 1.0)


def to_corners(
  base_images: types.Array,
  delta: types.Array | np.ndarray,
  *,
  epsilon: float,
  shared: bool,
) -> types.Array:
  """The corner of the l_inf budget that a perturbation points to, if the box has room.

    c_j = epsilon sign(delta_j), or the other one where the box leaves less than half as
    much room on that side: mean_i |clip(x_ij + c_j) - x_ij| < 1/2 mean_i |clip(x_ij - c_j)
    - x_ij|, over the class where it shares a perturbation, else of each image

  In the linear case optima lie at the ends of the budget (Theorem 1 of Mehra et al., 2021).
  Here descent follows the nearer end, also where the box has cut it off, as for a black
  pixel that is to be darker, and never finds the other. Entries of 0 are brightened.

  Args:
    base_images: `[n, H, W, C]`.
    delta: `[n, H, W, C]`.
    epsilon: budget in image units.
    shared: whether the class shares one perturbation, the mean of delta.

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
  """The perturbation after one step down, back in the ball and the box, and its memory.

  While shared, every image moves by the batch's mean, and the box cuts each image only
  where it is used (du is that of the cut images, passed straight through the cut); then
  the batch's images move, each by its own and inside the box. With `num_frequencies`, du
  and the step are cut to so many frequencies of each axis; where ball or box cut delta,
  it has others.

  Args:
    settings: shape, rule, length of a step, budget.
    step_number: `[]`, of the outer step.
    memory: of the steps before.
    delta: `[n, H, W, C]`.
    base_images: `[n, H, W, C]`.
    rows: `[p]`, the batch's images.
    du: `[p, H, W, C]`, their hypergradients.
  """
  shared = step_number < settings.num_shared_steps
  in_batch = jnp.zeros(len(delta), bool).at[rows].set(True)
  moves = shared | in_batch
  if settings.num_frequencies:
    du = perturbation.low_pass(du, settings.num_frequencies)
  mean = jnp.broadcast_to(du.mean(axis=0, keepdims=True), delta.shape)
  now = jnp.where(shared, mean, jnp.zeros_like(delta).at[rows].set(du))
  memory = _remember(settings, memory, now, moves)
  direction = settings.step_rule.direction(memory, settings.momentum, settings.norm)
  if settings.num_frequencies:  # Signs have all frequencies again.
    direction = perturbation.low_pass(direction, settings.num_frequencies)
  length = settings.step_size(step_number)
  delta = delta - length * jnp.where(of_images(moves), direction, 0.0)
  delta = perturbation.project(delta, epsilon=settings.epsilon, norm=settings.norm)
  inside = poisoned_images(base_images, delta) - base_images
  return jnp.where(shared, delta, inside), memory


def _remember(settings, memory, now, moves):
  """The running means, where the images move."""

  def mean(past, value, decay):
    average = decay * past + (1.0 - decay) * value
    return jnp.where(of_images(moves), average, past)

  second = memory.second
  if second is not None:
    second = mean(second, now**2, DECAY_OF_SQUARES)
  return Memory(mean(memory.first, now, settings.momentum), second, memory.count + moves)
