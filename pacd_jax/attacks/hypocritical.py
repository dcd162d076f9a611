"""Hypocritical perturbations: images on which a crafting model errs less than it should."""

from collections.abc import Callable

import numpy as np

from pacd_jax import types
from pacd_jax.attacks import inner_maximum, problem
from pacd_jax.attacks.targeted_adversarial import targeted_adversarial


def hypocritical(
  settings: problem.Settings,
  attack_data: problem.AttackData,
  key: types.Key,
  on_steps: Callable[[int, types.Aux], None] = lambda done, values: None,
  *,
  warmup_steps: int,
  crafting_radius: float,
  crafting_steps: int,
  num_steps: int,
  step_size: float,
  shared: bool = False,
) -> np.ndarray:
  """Makes a clean, adversarially trained model surer of the images' own labels.

    u_i = argmin_u E L_robust(u, y_i; theta),  |u - x_i| <= epsilon,
    theta = argmin_theta max_a E L_robust(D + a; theta),  |a_i| <= crafting_radius epsilon

  Tao et al. (2022), https://arxiv.org/abs/2201.13329: the perturbations support the
  features that are not robust, on which a victim then relies. Their crafting model is of
  ten epochs with a quarter of the budget, and their perturbations take 100 steps of a tenth
  of it. `targeted_adversarial` does the same with another label.

  Args:
    settings: the attack's model, loss, optimiser, batches and budget; the loss has no
      adversary of its own.
    attack_data: the attacker's data, of one class; its validation images are not used.
    key: folded, not consumed.
    on_steps: as in `targeted_adversarial`.
    warmup_steps: optimiser steps of the crafting model on clean data.
    crafting_radius: of its adversary, as a share of epsilon; 0: it has none.
    crafting_steps: steps of that adversary.
    num_steps: steps of each perturbation.
    step_size: size of the first of these, as a share of epsilon; it falls linearly to 0.
    shared: whether the class shares one perturbation; else each image has its own.

  Returns:
    float32 `[n, H, W, C]` in [0, 1] and in the budget.

  Raises:
    ValueError: the loss has an adversary.
  """
  return targeted_adversarial(
    settings,
    attack_data,
    key,
    on_steps,
    crafting=inner_maximum.robust(
      settings, radius=crafting_radius, num_steps=crafting_steps
    ),
    label=int(attack_data.base_labels[0]),
    warmup_steps=warmup_steps,
    num_steps=num_steps,
    step_size=step_size,
    shared=shared,
  )
