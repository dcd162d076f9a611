"""Descent of a fixed surrogate's loss in the poison: PGD under the loss's own noise."""

import functools
import math

import jax
import jax.numpy as jnp

from pacd_jax import perturbation, types
from pacd_jax.attacks import problem
from pacd_jax.attacks.movement import poisoned_images
from pacd_jax.data import batches


def start(attack_data: problem.AttackData, *, shared: bool) -> types.Array:
  """No perturbation yet: `[1, H, W, C]` for the whole class, or `[n, H, W, C]`."""
  base = attack_data.base_images
  return jnp.zeros_like(base[:1] if shared else base)


def num_batches(
  settings: problem.Settings, attack_data: problem.AttackData, *, shared: bool
) -> int:
  """Mini-batches in which every perturbation makes a step.

  An epoch where each image has its own, but for those that do not fill a batch.
  """
  return 1 if shared else len(attack_data.base_images) // settings.poison_batch


@functools.partial(jax.jit, static_argnums=0)
def descend(
  settings: problem.Settings,
  params: types.Params,
  attack_data: problem.AttackData,
  labels: types.Array,
  delta: types.Array,
  key: types.Key,
  first: int | types.Array,
  num_steps: int | types.Array,
  step_size: float | types.Array,
  zero_at: float | types.Array = math.inf,
) -> tuple[types.Array, types.Scalar]:
  """Moves perturbations so that the surrogate finds the labels on the poisoned images.

    delta <- P(delta - alpha_t s(grad_delta E L_robust(x + delta, labels; theta)))
    alpha_t = step_size (1 - t / zero_at)

  with s the steepest direction of the budget's norm and P the projection to the budget; a
  step sees one mini-batch of the class, under fresh noise. A perturbation that the class
  shares takes the mean of the batch's gradients, those of the images as the box cuts
  them, passed straight through the cut; an image's own is kept inside the box.

  Args:
    settings: the attack's: loss, budget, poison_batch, augmentation.
    params: of the surrogate, constant.
    attack_data: its base images are poisoned.
    labels: `[n]`, what the loss is to find on them.
    delta: `[1, H, W, C]` shared by the class, or `[n, H, W, C]`.
    key: of the whole descent: folded, not consumed.
    first: number t of the first step.
    num_steps: mini-batches, at least 1.
    step_size: of step 0, in image units.
    zero_at: number of the step whose size is 0; inf: all are of one size.

  Returns:
    delta, and the mean of the losses before each step.
  """
  base, shared = attack_data.base_images, len(delta) == 1

  def moved(delta, gradient, number):
    direction = perturbation.steepest_direction(gradient, norm=settings.norm)
    delta = delta - step_size * (1.0 - number / zero_at) * direction
    return perturbation.project(delta, epsilon=settings.epsilon, norm=settings.norm)

  def step(number, carry):
    delta, total = carry
    rows = batches.batch_indices(
      jax.random.fold_in(key, problem.POISON),
      number,
      num_examples=len(base),
      batch_size=settings.poison_batch,
    )
    batch = problem.Batch(base[:0], labels[rows], rows)  # The poison alone.
    images = poisoned_images(base[rows], delta if shared else delta[rows])
    noise_key = problem.fold(key, problem.LOWER_NOISE, number)
    age = jnp.int32(settings.adversary_warmup)  # An adversary's radius is whole.
    inputs = problem.attacked(settings, batch, params, images, noise_key, age)
    lower = problem.lower_level(settings, batch, noise_key, inputs)
    value, gradient = jax.value_and_grad(lower, argnums=1)(params, images)
    if shared:
      delta = moved(delta, gradient.mean(axis=0, keepdims=True), number)
    else:
      of_batch = moved(delta[rows], gradient, number)
      of_batch = poisoned_images(base[rows], of_batch) - base[rows]
      delta = delta.at[rows].set(of_batch)
    return delta, total + value

  carry = delta, jnp.float32(0.0)
  delta, total = jax.lax.fori_loop(first, first + num_steps, step, carry)
  return delta, total / num_steps
