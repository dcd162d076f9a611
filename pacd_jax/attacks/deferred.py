"""Deferred poisoning: a victim as accurate as before whose loss is sharply curved."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import types
from pacd_jax.attacks import problem
from pacd_jax.attacks.error_minimizing import error_minimizing
from pacd_jax.data import arrays

_DIRECTION = 0x5EED  # Folded into the key of the noise.


def deferred(
  settings: problem.Settings,
  attack_data: problem.AttackData,
  key: types.Key,
  on_round: Callable[[int, types.Aux], None] = lambda done, values: None,
  *,
  weight: float,
  num_rounds: int,
  surrogate_steps: int,
  poison_steps: int,
  step_size: float,
  shared: bool = False,
) -> np.ndarray:
  """Error-minimising noise for a surrogate that is curved at the poisoned images.

    min_theta min_u  E L(D; theta) + L(D_poison; theta) - weight Q(D_poison; theta)
    Q = (1/n) sum_i tr(H_i' H_i),  H_i the Hessian of image i's loss in its pixels,
    |u_i - x_i| <= epsilon

  D is the clean data with the class in it. He et al. (2024),
  https://arxiv.org/abs/2411.03752: a victim of the poison keeps its accuracy and loses its
  robustness. L is the attack's training loss, noise included, so that the curvature is at
  noisy images; Q is estimated by `curvature`, of the same loss, with two differences. It is
  at the poison as it is: a transform of the settings, an augmentation and a mixing change
  the images of L alone. And its noise is another draw of the same distribution, for the
  poisoned part of the batch only; fixed noise of the settings is fresh in it.

  Args:
    settings: the attack's model, loss, optimiser, batches and budget; the loss has no
      adversary.
    attack_data: the attacker's data; its validation images are not used.
    key: folded, not consumed.
    on_round: as in `error_minimizing`, with the term in the losses.
    weight: lambda, at least 0.
    num_rounds: rounds, each of which does both minimisations in turn.
    surrogate_steps: optimiser steps of a round.
    poison_steps: steps of each perturbation in a round.
    step_size: size of these steps, as a share of epsilon.
    shared: whether the class shares one perturbation; else each image has its own.

  Returns:
    float32 `[n, H, W, C]` in [0, 1] and in the budget.

  Raises:
    ValueError: the loss has an adversary.
  """
  if settings.loss.adversary is not None:
    raise ValueError("the loss has an adversary: give one without")

  def term(params, images, labels, noise_key):
    return -weight * curvature(settings.loss, params, images, labels, noise_key)

  clean = jnp.concatenate(
    [arrays.to_float(attack_data.clean_images), attack_data.base_images]
  )
  clean_labels = jnp.concatenate([attack_data.clean_labels, attack_data.base_labels])
  return error_minimizing(
    settings,
    attack_data._replace(clean_images=clean, clean_labels=clean_labels),
    key,
    on_round,
    num_rounds=num_rounds,
    surrogate_steps=surrogate_steps,
    poison_steps=poison_steps,
    step_size=step_size,
    shared=shared,
    term=term,
  )


def curvature(
  loss: types.Loss,
  params: types.Params,
  images: types.Array,
  labels: types.Array,
  key: types.Key,
) -> types.Scalar:
  """An unbiased estimate of the mean of tr(H'H), the squared Hessians in the pixels.

    tr(H'H) = E |H z|^2,  z ~ N(0, I)

  (Hutchinson, 1990), by one draw of z for each image and a derivative of the gradient
  along it, without a step size. Images must not depend on each other in the loss.

  Args:
    loss: the training loss; its adversary is not used.
    params: theta.
    images: `[B, H, W, C]`.
    labels: `[B]`.
    key: folded, not consumed; gives the loss's noise, and z.
  """
  chex.assert_rank([images, labels], [4, 1])
  direction_key = jax.random.fold_in(key, _DIRECTION)
  direction = jax.random.normal(direction_key, images.shape, jnp.float32)
  product = hessian_product(loss, params, images, labels, key, direction)
  return jnp.sum(product**2) / len(images)


def hessian_product(
  loss: types.Loss,
  params: types.Params,
  images: types.Array,
  labels: types.Array,
  key: types.Key,
  direction: types.Array,
) -> types.Array:
  """H_i z_i of each image, `[B, H, W, C]`; `direction` is z, shaped like the images."""
  chex.assert_rank([images, direction, labels], [4, 4, 1])

  def total(inputs):
    logits = loss.outputs(params, inputs, jax.random.clone(key))
    return len(images) * loss.criterion(logits, labels)[0]

  return jax.jvp(jax.grad(total), (images,), (direction,))[1]
