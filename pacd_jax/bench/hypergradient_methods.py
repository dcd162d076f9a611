"""Every hypergradient of the package on a known problem: its error against its cost.

The methods are the registry's own entries; the numbers of steps and the rates are set here.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import types
from pacd_jax.bench import bilevel_problems
from pacd_jax.bilevel import hypergradient, linear_solve, unrolling
from pacd_jax.experiment import kinds
from pacd_jax.experiment.entries import hypergradients as entries

STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
RATES = (1e-1, 1e-2, 1e-3, 1e-4)  # Adam's; the one with the least final error counts.
NYSTROM_DAMPING, EKFAC_PROBES, GAMMA = 1e-2, 16, 1e3
UNIT_STEP = 1.0  # Gradient steps' length: lambda_max is from 0.5 to 1.6 in each problem.
_GN, _H = hypergradient.gauss_newton, hypergradient.hessian
_BY_GAUSS_NEWTON = ("nystrom", "ekfac")  # All others use the Hessian here.
_BY_ADAM = ("adam_residual", "penalty")  # They depend on a learning rate.


class Method(NamedTuple):
  """One method for a hypergradient."""

  # `make(steps, rate) -> hypergradient`.
  make: Callable[[Any, Any], types.HypergradientFn]
  curvature: types.CurvatureFn  # Its matrix.
  needs_definite: str = "no"  # In words.
  rates: tuple[float, ...] = (0.0,)  # 0: it has none.
  is_static: bool = False  # The number of steps is static under jit.
  once: bool = False  # It takes no steps.
  is_low_rank: bool = False  # Steps are columns of the matrix.


def _tools(steps: Any, rate: Any, damping: float = 0.0) -> kinds.SolverTools:
  return kinds.SolverTools(steps, tolerance=1e-13, learning_rate=rate, damping=damping)


def _definite(entry: kinds.Solver) -> str:
  if entry.adds_damping:
    return "no, damping above 0"
  return "yes" if entry.needs_definite else "no"


def _by_solver(entry: kinds.Solver, curvature: types.CurvatureFn) -> Method:
  """The method that solves by a number of steps of a solver."""

  def solve_of(steps, rate):
    if entry.name == "nystrom":
      return entry.make(_tools(steps, rate, NYSTROM_DAMPING), entries.Nystrom(rank=steps))
    if entry.needs_warm_start:
      return _over_outer_steps(entry, steps)
    own = entries.Ekfac(EKFAC_PROBES) if entry.name == "ekfac" else None
    if own is None and entry.options is not None:
      own = entry.options()
    return entry.make(_tools(steps, rate), own)

  return Method(
    lambda steps, rate: functools.partial(
      hypergradient.approx_grad, curvature=curvature, solve=solve_of(steps, rate)
    ),
    curvature,
    _definite(entry),
    rates=RATES if entry.name in _BY_ADAM else (0.0,),
    is_static=entry.name == "nystrom",
    once=entry.name == "identity",
    is_low_rank=entry.name == "nystrom",
  )


def _over_outer_steps(entry: kinds.Solver, steps: Any) -> types.SolveFn:
  """A number of outer steps, one gradient step each, at fixed theta and u."""
  one = entry.make(_tools(1, UNIT_STEP), None)

  def solve(matvec, b, start):
    del start

    def outer(_, state):
      v, spent = state
      v, info = one(matvec, b, v)
      return v, spent + info.num_products

    zero = jax.tree.map(jnp.zeros_like, b)
    v, spent = jax.lax.fori_loop(0, steps - 1, outer, (zero, jnp.int32(0)))
    v, info = one(matvec, b, v)
    return v, info._replace(num_products=info.num_products + spent)

  return solve


def _by_steps(entry: kinds.Hypergradient) -> Method:
  """A hypergradient that takes steps of its own."""

  def make(steps, rate):
    own = {
      "unrolling": lambda: entries.Unrolling(UNIT_STEP),
      "penalty": lambda: entries.Penalty(GAMMA, rate),
    }.get(entry.name, entry.options)
    tools = kinds.HypergradientTools(_tools(steps, rate), _H, linear_solve.identity)
    return entry.make(tools, own and own())

  is_unrolled = entry.name == "unrolling"
  return Method(
    make,
    _H,
    "to converge" if is_unrolled else "no",
    rates=RATES if entry.name in _BY_ADAM else (0.0,),
    is_static=is_unrolled,
  )


def methods() -> dict[str, Method]:
  """Every solver of the registry in ApproxGrad, then every other hypergradient."""
  found = {}
  for entry in kinds.SOLVERS:
    if entry.name == "cg":  # With either matrix.
      found["cg, Gauss-Newton"] = _by_solver(entry, _GN)
      found["cg, Hessian"] = _by_solver(entry, _H)
    else:
      by_gauss_newton = entry.name in _BY_GAUSS_NEWTON
      found[entry.name] = _by_solver(entry, _GN if by_gauss_newton else _H)
  for entry in kinds.HYPERGRADIENTS:
    if not entry.solves:
      found[entry.name] = _by_steps(entry)
  return found


METHODS = methods()


class Point(NamedTuple):
  """The result of one method after one number of steps."""

  products: int
  error: float  # |du - exact| / |exact|
  cosine: float  # Between du and the exact one.
  own_error: float  # The error against the dense answer of the method's own matrix.
  solve: types.SolveInfo


def run(problem: bilevel_problems.Problem, method: Method) -> jax.stages.Wrapped:
  """`(steps, rate, params, poison) -> (du, SolveInfo)`, jitted."""

  def call(steps, rate, params, poison):
    approach = method.make(steps, rate)
    du, info = approach(
      types.UpperLevel(problem.upper), problem.lower, params, poison, None
    )
    return du, info.solve

  return jax.jit(call, static_argnums=(0,) if method.is_static else ())


def measure(
  problem: bilevel_problems.Problem,
  method: Method,
  references: dict[types.CurvatureFn, np.ndarray],
  steps: Sequence[int] = STEPS,
) -> list[Point]:
  """A method's points, one per number of steps, at the rate with the least final error.

  Args:
    problem: the bilevel problem.
    method: one of `METHODS`.
    references: the exact hypergradient by curvature; the Hessian's is the true one.
    steps: numbers of steps, increasing.
  """
  call, true, own = run(problem, method), references[_H], references[method.curvature]
  if method.once:
    steps = steps[:1]
  if method.is_low_rank:
    size = sum(leaf.size for leaf in jax.tree.leaves(problem.params))
    steps = [k for k in steps[1::2] if k < size] + [size]
  elif method.is_static:
    steps = steps[::3]  # Each needs a compilation of its own.
  found = {}
  for rate in method.rates:
    found[rate] = points = []
    for count in steps:
      du, info = call(count, rate, problem.params, problem.poison)
      du = np.asarray(du)
      norms = np.linalg.norm(du) * np.linalg.norm(true)
      points.append(
        Point(
          int(info.num_products),
          float(np.linalg.norm(du - true) / np.linalg.norm(true)),
          float(np.vdot(du, true) / norms),
          float(np.linalg.norm(du - own) / np.linalg.norm(own)),
          info,
        )
      )
  return min(found.values(), key=lambda points: points[-1].error)


def temporary_bytes(
  problem: bilevel_problems.Problem, method: Method, steps: int
) -> int | None:
  """Bytes that the compiled method needs beside arguments and results; None: unknown."""
  compiled = run(problem, method).lower(*(steps, 1e-2, problem.params, problem.poison))
  analysis = compiled.compile().memory_analysis()
  return None if analysis is None else int(analysis.temp_size_in_bytes)


def unrolled(*, checkpoint: bool) -> Method:
  """Unrolling with or without recomputation in the backward pass."""
  return METHODS["unrolling"]._replace(
    make=lambda steps, rate: functools.partial(
      unrolling.unrolled_grad,
      num_steps=steps,
      learning_rate=UNIT_STEP,
      checkpoint=checkpoint,
    )
  )
