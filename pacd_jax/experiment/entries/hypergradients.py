"""Hypergradients, their matrices and their linear solvers, by name.

The fields are `attack.hypergradient`, `attack.curvature` and `attack.solver`.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from pacd_jax import types
from pacd_jax.bilevel import hypergradient, linear_solve, penalty, redrawn, unrolling
from pacd_jax.bilevel.solvers import (
  adam_residual,
  ekfac,
  neumann,
  normal_equations,
  nystrom,
  single_loop,
)
from pacd_jax.experiment import fields, kinds

kinds.CURVATURES.add(
  kinds.Curvature(
    "gauss_newton",
    lambda options: hypergradient.gauss_newton,
    "the generalised Gauss-Newton matrix, positive semi-definite",
    is_semidefinite=True,
  )
)
kinds.CURVATURES.add(
  kinds.Curvature(
    "hessian", lambda options: hypergradient.hessian, "the Hessian of the lower level"
  )
)


# --- solvers --------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Nystrom:
  """The options of `nystrom`."""

  rank: int = fields.field(
    10, fields.count(most=10_000), "Columns, each as large as the model."
  )


@dataclasses.dataclass(frozen=True)
class Ekfac:
  """The options of `ekfac`."""

  num_probes: int = fields.field(
    4, fields.count(most=10_000), "Products before the first step."
  )


def _until_solved(solve: Callable[..., Any]):
  """The `make` of a solver that stops at a tolerance or after a number of steps."""

  def make(tools: kinds.SolverTools, options: Any) -> types.SolveFn:
    more = {} if options is None else dataclasses.asdict(options)
    return functools.partial(
      solve, max_steps=tools.num_steps, tolerance=tools.tolerance, **more
    )

  return make


def _adam_residual(tools: kinds.SolverTools, options: Any) -> types.SolveFn:
  del options
  return functools.partial(
    adam_residual.adam_residual,
    num_steps=tools.num_steps,
    learning_rate=tools.learning_rate,
  )


def _single_loop(tools: kinds.SolverTools, options: Any) -> types.SolveFn:
  del options
  return functools.partial(
    single_loop.single_loop, num_steps=tools.num_steps, step_size=tools.learning_rate
  )


for _solver in (
  kinds.Solver(
    "identity",
    lambda tools, options: linear_solve.identity,
    "none: the first-order answer, for comparison",
    is_iterative=False,
  ),
  kinds.Solver(
    "cg",
    _until_solved(linear_solve.conjugate_gradient),
    "conjugate gradients",
    needs_definite=True,
  ),
  kinds.Solver(
    "normal_equations",
    _until_solved(normal_equations.normal_equations),
    "conjugate gradients on the normal equations",
  ),
  kinds.Solver(
    "adam_residual", _adam_residual, "Adam on the squared residual, as the authors' code"
  ),
  kinds.Solver(
    "neumann",
    lambda tools, options: functools.partial(neumann.neumann, num_steps=tools.num_steps),
    "the truncated Neumann series",
    needs_definite=True,
  ),
  kinds.Solver(
    "nystrom",
    lambda tools, options: functools.partial(
      nystrom.nystrom, damping=tools.damping, rank=options.rank
    ),
    "a low-rank matrix from some columns",
    options=Nystrom,
    is_iterative=False,
    adds_damping=True,
  ),
  kinds.Solver(
    "ekfac",
    _until_solved(ekfac.ekfac),
    "conjugate gradients in the Kronecker-factored eigenbasis",
    options=Ekfac,
    needs_definite=True,
  ),
  kinds.Solver(
    "single_loop",
    _single_loop,
    "few gradient steps, from the last outer step's solution",
    needs_definite=True,
    needs_warm_start=True,
  ),
):
  kinds.SOLVERS.add(_solver)


# --- hypergradients -------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Unrolling:
  """The options of `unrolling`."""

  learning_rate: float = fields.field(
    0.1, fields.above_zero(), "Of the gradient descent that is unrolled."
  )


@dataclasses.dataclass(frozen=True)
class Penalty:
  """The options of `penalty`."""

  gamma: float = fields.field(10.0, fields.above_zero(), "Weight of |grad g|^2 / 2.")
  learning_rate: float = fields.field(1e-3, fields.above_zero(), "Adam's.")


def _approx_grad(tools: kinds.HypergradientTools, options: Any):
  del options
  return functools.partial(
    hypergradient.approx_grad, curvature=tools.curvature, solve=tools.solve
  )


def _redrawn(tools: kinds.HypergradientTools, options: Any) -> types.HypergradientFn:
  del options
  return functools.partial(
    redrawn.redrawn_approx_grad,
    curvature=tools.curvature,
    damping=tools.steps.damping,
    num_steps=tools.steps.num_steps,
    learning_rate=tools.steps.learning_rate,
  )


def _in_steps(function: Callable[..., Any]):
  """The `make` of a hypergradient that takes steps of its own."""

  def make(tools: kinds.HypergradientTools, options: Any) -> types.HypergradientFn:
    return functools.partial(
      function, num_steps=tools.steps.num_steps, **dataclasses.asdict(options)
    )

  return make


for _hypergradient in (
  kinds.Hypergradient(
    "approx_grad", _approx_grad, "ApproxGrad: the implicit function theorem", solves=True
  ),
  kinds.Hypergradient(
    "unrolling",
    _in_steps(unrolling.unrolled_grad),
    "truncated unrolling of the training",
    options=Unrolling,
  ),
  kinds.Hypergradient(
    "redrawn",
    _redrawn,
    "ApproxGrad by Adam on the squared residual, with noise drawn anew at every step and "
    "Adam's state kept between outer steps, as the authors' code",
    first_start=redrawn.init,
  ),
  kinds.Hypergradient(
    "penalty", _in_steps(penalty.penalty_grad), "the penalty method", options=Penalty
  ),
):
  kinds.HYPERGRADIENTS.add(_hypergradient)
