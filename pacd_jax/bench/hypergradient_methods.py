"""Every hypergradient of the package on a known problem: how far off, after how much."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import types
from pacd_jax.bench import bilevel_problems
from pacd_jax.bilevel import hypergradient, linear_solve, penalty, unrolling
from pacd_jax.bilevel.solvers import (
  adam_residual,
  ekfac,
  neumann,
  normal_equations,
  nystrom,
  single_loop,
)

STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
RATES = (1e-1, 1e-2, 1e-3, 1e-4)  # Of Adam; the one with the best end counts.
NYSTROM_DAMPING, EKFAC_PROBES, GAMMA = 1e-2, 16, 1e3
UNIT_STEP = 1.0  # Of gradient steps: each problem's lambda_max is from 0.5 to 1.6.
_GN, _H = hypergradient.gauss_newton, hypergradient.hessian


class Method(NamedTuple):
  """One way to a hypergradient."""

  # `make(steps, rate) -> hypergradient`.
  make: Callable[[Any, Any], types.HypergradientFn]
  curvature: types.CurvatureFn  # Its matrix.
  needs_definite: str = "no"  # In words.
  rates: tuple[float, ...] = (0.0,)  # 0: it has none.
  is_static: bool = False  # The steps are part of the program.


def _approx(curvature, solver, **options):
  """The method that solves by so many steps of a solver."""

  def make(steps, rate):
    solve = functools.partial(solver, **options)
    if "learning_rate" in options:
      solve = functools.partial(solver, learning_rate=rate)
    count = {"num_steps": steps}
    if solver in (
      linear_solve.conjugate_gradient,
      normal_equations.normal_equations,
      ekfac.ekfac,
    ):
      count = {"max_steps": steps, "tolerance": 1e-13}
    solve = functools.partial(solve, **count)
    return functools.partial(hypergradient.approx_grad, curvature=curvature, solve=solve)

  return make


def _identity(steps, rate):
  del steps, rate
  solve = linear_solve.identity
  return functools.partial(hypergradient.approx_grad, curvature=_H, solve=solve)


def _nystrom(steps, rate):
  del rate
  solve = functools.partial(nystrom.nystrom, damping=NYSTROM_DAMPING, rank=steps)
  return functools.partial(hypergradient.approx_grad, curvature=_GN, solve=solve)


def _single_loop(steps, rate):
  """So many outer steps, one gradient step each, at a theta and u that stand still."""
  del rate

  def solve(matvec, b, start):
    del start

    def outer(_, state):
      v, spent = state
      v, info = single_loop.single_loop(matvec, b, v, step_size=UNIT_STEP)
      return v, spent + info.num_products

    zero = jax.tree.map(jnp.zeros_like, b)
    v, spent = jax.lax.fori_loop(0, steps - 1, outer, (zero, jnp.int32(0)))
    v, info = single_loop.single_loop(matvec, b, v, step_size=UNIT_STEP)
    return v, info._replace(num_products=info.num_products + spent)

  return functools.partial(hypergradient.approx_grad, curvature=_H, solve=solve)


METHODS = {
  "identity": Method(_identity, _H),
  "cg, Gauss-Newton": Method(_approx(_GN, linear_solve.conjugate_gradient), _GN, "yes"),
  "cg, Hessian": Method(_approx(_H, linear_solve.conjugate_gradient), _H, "yes"),
  "normal_equations": Method(_approx(_H, normal_equations.normal_equations), _H),
  "adam_residual": Method(
    _approx(_H, adam_residual.adam_residual, learning_rate=None), _H, rates=RATES
  ),
  "neumann": Method(_approx(_H, neumann.neumann), _H, "yes"),
  "nystrom": Method(_nystrom, _GN, "no, damping above 0", is_static=True),
  "ekfac": Method(_approx(_GN, ekfac.ekfac, num_probes=EKFAC_PROBES), _GN, "yes"),
  "single_loop": Method(_single_loop, _H, "yes"),
  "unrolling": Method(
    lambda steps, rate: functools.partial(
      unrolling.unrolled_grad, num_steps=steps, learning_rate=UNIT_STEP
    ),
    _H,
    "to converge",
    is_static=True,
  ),
  "penalty": Method(
    lambda steps, rate: functools.partial(
      penalty.penalty_grad, gamma=GAMMA, num_steps=steps, learning_rate=rate
    ),
    _H,
    rates=RATES,
  ),
}


class Point(NamedTuple):
  """What one method gave after one number of steps."""

  products: int
  error: float  # |du - exact| / |exact|
  cosine: float  # Of du and the exact one.
  own_error: float  # The same against the dense answer of the method's own matrix.
  solve: types.SolveInfo


def run(problem: bilevel_problems.Problem, method: Method) -> Callable:
  """`(steps, rate, params, poison) -> (du, SolveInfo)`, jitted."""

  def call(steps, rate, params, poison):
    approach = method.make(steps, rate)
    du, info = approach(problem.upper, problem.lower, params, poison, None)
    return du, info.solve

  return jax.jit(call, static_argnums=(0,) if method.is_static else ())


def measure(
  problem: bilevel_problems.Problem,
  method: Method,
  references: dict[types.CurvatureFn, np.ndarray],
  steps: Sequence[int] = STEPS,
) -> list[Point]:
  """A method's points, one a number of steps, at the rate that ends best.

  Args:
    problem: the bilevel problem.
    method: one of `METHODS`.
    references: the exact hypergradient by curvature; the Hessian's is the true one.
    steps: rising.
  """
  call, true, own = run(problem, method), references[_H], references[method.curvature]
  if method.make is _identity:
    steps = steps[:1]
  if method.make is _nystrom:
    size = sum(leaf.size for leaf in jax.tree.leaves(problem.params))
    steps = [k for k in steps[1::2] if k < size] + [size]
  elif method.is_static:
    steps = steps[::3]  # Each is a program of its own.
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
  """What the compiled method needs beside arguments and results; None: not told."""
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
