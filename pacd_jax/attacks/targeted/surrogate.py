"""The attacker's network of clean images, where it does not have the victims'."""

from collections.abc import Callable

import jax

from pacd_jax import types
from pacd_jax.attacks import problem, surrogates

_AT_ONCE = 100  # Steps between two calls of `on_steps`.
_INIT, _TRAIN = range(2)  # Random streams, folded from the key.


def trained(
  settings: problem.Settings,
  attack_data: problem.AttackData,
  key: types.Key,
  num_steps: int,
  on_steps: Callable[[int, types.Aux], None] = lambda done, values: None,
) -> types.Params:
  """Trains a surrogate on the clean training images; returns its parameters.

  Args:
    settings: the attack's model, loss, optimiser and batches.
    attack_data: the attacker's data, of which the base images are trained on unchanged.
    key: folded, not consumed.
    num_steps: optimiser steps.
    on_steps: called every few steps with the number of steps done and their mean loss.
  """
  base = attack_data.base_images
  init_key, train_key = (jax.random.fold_in(key, stream) for stream in (_INIT, _TRAIN))
  state = surrogates.init(settings, base.shape[1:], init_key)
  for done in range(0, num_steps, _AT_ONCE):
    steps = min(_AT_ONCE, num_steps - done)
    state, loss = surrogates.train(
      settings, state, attack_data, base, train_key, train_key, steps
    )
    on_steps(done + steps, {"loss": loss})
  return state.params
