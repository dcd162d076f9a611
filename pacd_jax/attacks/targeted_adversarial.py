"""Targeted adversarial poisons: images that a clean model classifies as another class."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import types
from pacd_jax.attacks import descent, problem, surrogates
from pacd_jax.attacks.movement import poisoned_images

_INIT, _SURROGATE, _POISON = range(3)  # Random streams, folded from the key.
_AT_ONCE = {"warmup": 100, "poison": 10}  # Steps between two calls of `on_steps`.


def targeted_adversarial(
  settings: problem.Settings,
  attack_data: problem.AttackData,
  key: types.Key,
  on_steps: Callable[[int, types.Aux], None] = lambda done, values: None,
  *,
  label: int | None,
  warmup_steps: int,
  num_steps: int,
  step_size: float,
  shared: bool = False,
  crafting: problem.Settings | None = None,
) -> np.ndarray:
  """Adversarial examples of the training images, with their own labels.

    u_i = argmin_u E L_robust(u, g(y_i); theta),  |u - x_i| <= epsilon,
    theta = argmin_theta E L_robust(D; theta),  D clean

  TAP of Fowl et al. (2021), https://arxiv.org/abs/2106.10807, in its targeted form, which
  they found the strongest: the victim learns features of another class as those of its own.
  Without g it is their untargeted form: u_i maximises the loss of the image's own label.
  With the loss of Gaussian augmentation, surrogate training and PGD are under its noise.

  Args:
    settings: the attack's model, loss, optimiser, batches and budget.
    attack_data: the attacker's data; its validation images are not used.
    key: folded, not consumed.
    on_steps: called every few steps with the number of steps done, out of `warmup_steps`
      plus `num_steps`, and the mean loss since the last call; an exception that it raises
      ends the attack.
    label: g(y), the other class; None: untargeted.
    warmup_steps: optimiser steps of the surrogate on clean data.
    num_steps: steps of each perturbation.
    step_size: size of the first of these, as a share of epsilon; it falls linearly to 0.
    shared: whether the class shares one perturbation; else each image has its own.
    crafting: settings by which the surrogate trains; None: those of the descent.

  Returns:
    float32 `[n, H, W, C]` in [0, 1] and in the budget.
  """
  base = attack_data.base_images
  in_step = descent.num_batches(settings, attack_data, shared=shared)
  init_key, train_key, poison_key = (
    jax.random.fold_in(key, stream) for stream in (_INIT, _SURROGATE, _POISON)
  )

  crafting = crafting or settings
  trained = surrogates.init(crafting, base.shape[1:], init_key)
  for done, steps in _parts(warmup_steps, _AT_ONCE["warmup"]):
    trained, loss = surrogates.train(
      crafting, trained, attack_data, base, train_key, train_key, steps
    )
    on_steps(done + steps, {"loss": loss})

  delta = descent.start(attack_data, shared=shared)
  labels, size = attack_data.base_labels, -step_size  # A descent backwards is an ascent.
  if label is not None:
    labels, size = jnp.full_like(labels, label), step_size
  for done, steps in _parts(num_steps, _AT_ONCE["poison"]):
    delta, loss = descent.descend(
      settings,
      trained.params,
      attack_data,
      labels,
      delta,
      poison_key,
      done * in_step,
      steps * in_step,
      size * settings.epsilon,
      num_steps * in_step,
    )
    on_steps(warmup_steps + done + steps, {"loss": loss})
  return np.asarray(poisoned_images(base, delta))


def _parts(num_steps, at_once):
  """Returns (steps done before, steps) for each part."""
  return [(i, min(at_once, num_steps - i)) for i in range(0, num_steps, at_once)]
