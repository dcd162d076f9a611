"""Robust error-minimising noise (REM): little to learn for adversarial training, too."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pacd_jax import types
from pacd_jax.attacks import inner_maximum, problem
from pacd_jax.attacks.error_minimizing import error_minimizing


def robust_error_minimizing(
  settings: problem.Settings,
  attack_data: problem.AttackData,
  key: types.Key,
  on_round: Callable[[int, types.Aux], None] = lambda done, values: None,
  *,
  adversary_radius: float,
  adversary_steps: int,
  **rounds: Any,
) -> np.ndarray:
  """Error-minimising noise against a surrogate whose images are attacked.

    min_theta min_u max_a E L_robust(D_clean u D_poison + a; theta),
    |u_i - x_i| <= epsilon,  |a_i| <= adversary_radius epsilon

  REM of Fu et al. (2022), https://arxiv.org/abs/2203.14533: rho_u is epsilon, and rho_a
  half of it in their experiments, with ten steps. The expectation is over the noise of the
  loss and the augmentation of `settings`, one draw for each step; theirs is over random
  crops and flips, five draws for each step.

  Args:
    settings: the attack's model, loss, optimiser, batches and budget; the loss has no
      adversary of its own.
    attack_data: the attacker's data; its validation images are not used.
    key: folded, not consumed.
    on_round: as in `error_minimizing`.
    adversary_radius: rho_a as a share of epsilon; 0: `error_minimizing`.
    adversary_steps: steps of the inner maximum.
    **rounds: the further arguments of `error_minimizing`.

  Returns:
    float32 `[n, H, W, C]` in [0, 1] and in the budget.

  Raises:
    ValueError: the loss has an adversary.
  """
  robust = inner_maximum.robust(
    settings, radius=adversary_radius, num_steps=adversary_steps
  )
  return error_minimizing(robust, attack_data, key, on_round, **rounds)
