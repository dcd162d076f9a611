"""Descent of a fixed surrogate's loss in the poison: PGD under the noise of that loss."""

import functools
import math

import jax
import jax.numpy as jnp

from pacd_jax import perturbation, types
from pacd_jax.attacks import problem, surrogates
from pacd_jax.attacks.movement import poisoned_images
from pacd_jax.data import batches


def start(attack_data: problem.AttackData, *, shared: bool) -> types.Array:
  """A zero perturbation: `[1, H, W, C]` if the class shares it, else `[n, H, W, C]`."""
  base = attack_data.base_images
  return jnp.zeros_like(base[:1] if shared else base)


def num_batches(
  settings: problem.Settings, attack_data: problem.AttackData, *, shared: bool
) -> int:
  """The number of mini-batches in which every perturbation makes one step.

  It is 1 for a shared perturbation. For per-image perturbations it is an epoch's number,
  where images left over from the last whole mini-batch make no step.
  """
  return 1 if shared else len(attack_data.base_images) // settings.poison_batch


@functools.partial(jax.jit, static_argnums=0, static_argnames="term")
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
  *,
  term: surrogates.TermFn | None = None,
) -> tuple[types.Array, types.Scalar]:
  """Moves perturbations so that the surrogate predicts the labels on the poisoned images.

    delta <- P(delta - alpha_t s(grad_delta E L_robust(x + delta, labels; theta)))
    alpha_t = step_size (1 - t / zero_at)

  with s the steepest direction of the budget's norm and P the projection to the budget; a
  step uses one mini-batch of the class, under fresh noise. A shared perturbation follows
  the mean of the batch's gradients, taken at the images clipped to the box and passed
  straight through the clipping; a per-image perturbation is kept inside the box.

  Args:
    settings: the attack's loss, budget, poison_batch and augmentation.
    params: the surrogate's parameters, constant.
    attack_data: data whose base images are poisoned.
    labels: `[n]`, the labels in the loss.
    delta: `[1, H, W, C]` shared by the class, or `[n, H, W, C]`.
    key: key of the whole descent; folded, not consumed.
    first: number t of the first step.
    num_steps: number of mini-batches, at least 1.
    step_size: size of step 0, in image units.
    zero_at: number of the step whose size is 0; inf: all steps have one size.
    term: added to the loss of each mini-batch; None: nothing.

  Returns:
    delta, and the mean over steps of the loss before the step.
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
    batch = problem.Batch(base[:0], labels[rows], rows)  # No clean images.
    images = poisoned_images(base[rows], delta if shared else delta[rows])
    noise_key = problem.fold(key, problem.LOWER_NOISE, number)
    age = jnp.int32(settings.adversary_warmup)  # The adversary has its full radius.
    inputs = problem.attacked(settings, batch, params, images, noise_key, age)
    # Mixing is with images of other classes, which this batch has none of.
    alone = settings._replace(mix=None)
    lower = problem.lower_level(alone, batch, noise_key, inputs)
    lower = surrogates.with_term(term, lower, batch, noise_key)
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
