"""Kinds of certification procedures."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from pacd_jax import types
from pacd_jax.certification import certify, procedure
from pacd_jax.registry import Options, Registry


class ProcedureTools(NamedTuple):
  """The inputs of `Procedure.make`."""

  model: types.Model  # The classifier that is certified.
  image_shape: tuple[int, int, int]
  num_classes: int
  sampling: certify.Settings  # How votes are drawn, if they are.


@dataclasses.dataclass(frozen=True)
class Procedure:
  """A way to certify predictions: what it certifies, and how.

  `entries.procedures.verifying` makes one of a function that verifies balls.
  """

  name: str
  # Raises errors.InputError for a classifier that it cannot certify.
  make: Callable[[ProcedureTools, Options], procedure.Procedure]
  words: str
  options: type | None = None
  # Its differentiable counterpart, which an attack on its certificates minimises: a name
  # of `OBJECTIVES`; "": there is none.
  objective: str = ""
  draws: bool = False  # Whether it draws noise, by the fields of `certify` and sigma.
  # Checks its options; raises errors.InputError.
  check: Callable[[Options], None] | None = None


PROCEDURES: Registry[Procedure] = Registry("certification procedure")
