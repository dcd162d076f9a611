"""Kinds of hypergradients, of the steps along them, and of whole attacks."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pacd_jax import types
from pacd_jax.attacks import step_rules
from pacd_jax.registry import Options, Registry


class SolverTools(NamedTuple):
  """The settings of all linear solvers, and of hypergradients that take steps."""

  num_steps: int  # The most steps.
  tolerance: float  # Relative residual at which a solver stops early.
  learning_rate: float  # For solvers that take gradient steps.
  damping: float  # Added to the matrix.


@dataclasses.dataclass(frozen=True)
class Solver:
  """A method for the linear system A p = grad f."""

  name: str
  make: Callable[[SolverTools, Options], types.SolveFn]
  words: str
  options: type | None = None
  needs_definite: bool = False  # It minimises x'Ax / 2 - b'x, or its like.
  is_iterative: bool = True  # It improves a first guess: a warm start is of use.
  needs_warm_start: bool = False  # It follows the solution over outer steps.
  adds_damping: bool = False  # It adds and divides by the damping itself.


@dataclasses.dataclass(frozen=True)
class Curvature:
  """The matrix A of ApproxGrad."""

  name: str
  make: Callable[[Options], types.CurvatureFn]
  words: str
  options: type | None = None
  is_semidefinite: bool = False


class HypergradientTools(NamedTuple):
  """The inputs of `Hypergradient.make`."""

  steps: SolverTools
  curvature: types.CurvatureFn
  solve: types.SolveFn  # Damped.


@dataclasses.dataclass(frozen=True)
class Hypergradient:
  """A method for the derivative of the upper level through the lower level."""

  name: str
  make: Callable[[HypergradientTools, Options], types.HypergradientFn]
  words: str
  options: type | None = None
  solves: bool = False  # It uses the matrix and the solver.
  # What a surrogate's first solve starts from, where each starts from the end of the last.
  first_start: Callable[[types.Params], Any] | None = None


@dataclasses.dataclass(frozen=True)
class StepRule:
  """A rule by which a step of the poison follows from its hypergradients."""

  name: str
  make: Callable[[Options], step_rules.StepRule]
  words: str
  options: type | None = None


@dataclasses.dataclass(frozen=True)
class Preset:
  """An attack that others have published, by the fields of `attack` that define it."""

  name: str
  # The fields by flat names, for a training loss's name; numbers may differ from these.
  fields: Callable[[str], Mapping[str, Any]]
  words: str  # For the row in tables and pages.
  options: type | None = None


SOLVERS: Registry[Solver] = Registry("solver")
CURVATURES: Registry[Curvature] = Registry("curvature")
HYPERGRADIENTS: Registry[Hypergradient] = Registry("hypergradient")
STEP_RULES: Registry[StepRule] = Registry("step rule")
PRESETS: Registry[Preset] = Registry("preset")
