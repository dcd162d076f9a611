"""Error-minimising noise: a poison that leaves the victim little to learn of the class."""

from collections.abc import Callable

import jax
import numpy as np

from pacd_jax import types
from pacd_jax.attacks import descent, problem, surrogates
from pacd_jax.attacks.movement import poisoned_images

_INIT, _SURROGATE, _POISON = range(3)  # Random streams, folded from the key.


def error_minimizing(
  settings: problem.Settings,
  attack_data: problem.AttackData,
  key: types.Key,
  on_round: Callable[[int, types.Aux], None] = lambda done, values: None,
  *,
  num_rounds: int,
  surrogate_steps: int,
  poison_steps: int,
  step_size: float,
  shared: bool = True,
  term: surrogates.TermFn | None = None,
) -> np.ndarray:
  """Minimises the robust loss in both the poison and the surrogate's parameters.

    min_theta min_u  E L_robust(D_clean u D_poison; theta),  |u_i - x_i| <= epsilon

  The attack is that of Huang et al. (2021), https://arxiv.org/abs/2101.04898. The surrogate
  trains as a robust victim does, so that the poison survives the victim's own noise: SEM of
  Liu et al. (2023), https://arxiv.org/abs/2311.13091. With the loss of Gaussian
  augmentation, both minimisations are under its noise. The other classes stay clean.

  Args:
    settings: the attack's model, loss, optimiser, batches and budget.
    attack_data: the attacker's data; its validation images are not used.
    key: folded, not consumed.
    on_round: called after each round with the number of rounds done and the mean losses,
      of training and of the class; an exception that it raises ends the attack.
    num_rounds: rounds, each of which does both minimisations in turn.
    surrogate_steps: optimiser steps of a round.
    poison_steps: steps of each perturbation in a round.
    step_size: size of these steps, as a share of epsilon.
    shared: whether the class shares one perturbation; else each image has its own.
    term: added to both losses; None: nothing.

  Returns:
    float32 `[n, H, W, C]` in [0, 1] and in the budget.
  """
  base = attack_data.base_images
  init_key, train_key, poison_key = (
    jax.random.fold_in(key, stream) for stream in (_INIT, _SURROGATE, _POISON)
  )
  steps = poison_steps * descent.num_batches(settings, attack_data, shared=shared)

  delta = descent.start(attack_data, shared=shared)
  trained = surrogates.init(settings, base.shape[1:], init_key)
  for number in range(num_rounds):
    images = poisoned_images(base, delta)
    trained, loss = surrogates.train(
      settings,
      trained,
      attack_data,
      images,
      train_key,
      train_key,
      surrogate_steps,
      term=term,
    )
    delta, of_class = descent.descend(
      settings,
      trained.params,
      attack_data,
      attack_data.base_labels,
      delta,
      poison_key,
      number * steps,
      steps,
      step_size * settings.epsilon,
      term=term,
    )
    on_round(number + 1, {"loss": loss, "class_loss": of_class})
  return np.asarray(poisoned_images(base, delta))
