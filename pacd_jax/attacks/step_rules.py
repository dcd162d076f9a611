"""Rules that give the poison's step from the hypergradients so far."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from pacd_jax import perturbation, types

DECAY_OF_SQUARES = 0.999  # Adam's beta_2, as in the authors' code.
_TINY = 1e-8  # Adam's epsilon, as in the authors' code.


class Memory(NamedTuple):
  """Running means of hypergradients, of each image or of each place in the batch."""

  first: types.Array  # `[n or p, H, W, C]`: mean of du.
  second: types.Array | None  # Mean of du^2, for Adam.
  count: types.Array  # `[n or p]` int32: moves so far.


class StepRule(NamedTuple):
  """A rule: `direction(memory, momentum, norm)`, with the norm of the budget.

  It returns a step of length 1, shaped like the memory's means.
  """

  name: str
  direction: Callable[[Memory, float, str], types.Array]
  keeps_squares: bool = False  # Whether the rule needs `Memory.second`.
  # Whether the memory is of the p places of the batch, whatever images are there, and
  # begins anew with each surrogate.
  of_places: bool = False


def of_images(values: types.Array) -> types.Array:
  """Reshapes `[n]` to `[n, 1, 1, 1]`."""
  return values[:, None, None, None]


def _sign(memory: Memory, momentum: float, norm: str) -> types.Array:
  """The steepest direction of the budget's norm (Signum, Bernstein et al., 2018)."""
  del momentum
  return perturbation.steepest_direction(memory.first, norm=norm)


def _normalized(memory: Memory, momentum: float, norm: str) -> types.Array:
  """The gradient divided by its largest entry for l_inf, by its norm for l_2."""
  del momentum
  return perturbation.normalized(memory.first, norm=norm)


def _adam(memory: Memory, momentum: float, norm: str) -> types.Array:
  """Adam (Kingma & Ba, 2015) with the momentum as beta_1; the authors' is 0.9."""
  del norm
  assert memory.second is not None  # Since ADAM has `keeps_squares`.
  count = jnp.maximum(of_images(memory.count), 1)
  first = memory.first / (1.0 - momentum**count)
  second = memory.second / (1.0 - DECAY_OF_SQUARES**count)
  return first / (jnp.sqrt(second) + _TINY)


SIGN = StepRule("sign", _sign)
NORMALIZED = StepRule("normalized", _normalized)
ADAM = StepRule("adam", _adam, keeps_squares=True)
# The authors' optimiser has one variable for the batch, to which each batch's images are
# assigned: its moments are means over whatever images stood at the same place before.
ADAM_OF_PLACES = StepRule("adam_of_places", _adam, keeps_squares=True, of_places=True)
