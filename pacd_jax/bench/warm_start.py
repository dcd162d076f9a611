"""Measures what a warm start of the linear solve saves an attack, and its memory.

The attack is PACD on scikit-learn's digits, as in `configs/digits_ga.py` with an MLP for
the victim: every outer step solves its system from zero, or from the same surrogate's last
solution.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
import optax

from pacd_jax import losses, types
from pacd_jax.attacks import objectives, pacd, problem
from pacd_jax.bilevel import hypergradient, linear_solve, penalty, unrolling
from pacd_jax.bilevel.solvers import (
  adam_residual,
  ekfac,
  neumann,
  normal_equations,
  single_loop,
)
from pacd_jax.experiment.entries import data_sets, networks

_SIGMA, _DAMPING, _NUM_STEPS, _RESTART, _SETTLED = 0.25, 0.1, 60, 30, 5


def _solved(solve: types.SolveFn, **fixed) -> types.HypergradientFn:
  """ApproxGrad with a solver of the damped system."""
  solve = functools.partial(solve, **fixed)

  def damped(matvec, b, start):
    return solve(linear_solve.damped(matvec, _DAMPING), b, start)

  return functools.partial(hypergradient.approx_grad, solve=damped)


# Name -> (hypergradient, whether it improves a first guess).
METHODS = {
  **{
    f"cg, {steps} steps": (
      _solved(linear_solve.conjugate_gradient, max_steps=steps),
      True,
    )
    for steps in (1, 3, 10)
  },
  "single_loop, 1 step": (
    _solved(single_loop.single_loop, num_steps=1, step_size=1.0),
    True,
  ),
  "neumann, 3 steps": (_solved(neumann.neumann, num_steps=3), True),
  "normal_equations, 3 steps": (
    _solved(normal_equations.normal_equations, max_steps=3),
    True,
  ),
  "adam_residual, 10 steps": (
    _solved(adam_residual.adam_residual, num_steps=10, learning_rate=1e-3),
    True,
  ),
  "ekfac, 3 steps": (_solved(ekfac.ekfac, max_steps=3, num_probes=4), True),
  "identity": (_solved(linear_solve.identity), False),
  "unrolling, 3 steps": (
    functools.partial(unrolling.unrolled_grad, num_steps=3, learning_rate=0.1),
    False,
  ),
  "penalty, 3 steps": (
    functools.partial(penalty.penalty_grad, num_steps=3, gamma=10.0, learning_rate=1e-3),
    False,
  ),
}


class Measured(NamedTuple):
  """Statistics over one attack's outer steps."""

  residual: float  # Median of |b - A p| / |b|.
  products: float  # Mean number of products in a step.
  growth: int  # Bytes of live arrays after the last step over those after the first.


def _settings(method: types.HypergradientFn, warm_start: bool) -> problem.Settings:
  model = networks.make("mlp", num_classes=10, image_shape=(8, 8, 1))
  return problem.Settings(
    model=model,
    loss=losses.gaussian_augmentation(model.apply, sigma=_SIGMA),
    hypergradient=method,
    optimizer=optax.adam(1e-3),
    objective=objectives.soft_acr(model.apply, sigma=_SIGMA),
    epsilon=0.1,
    clean_batch=180,
    poison_batch=20,
    val_batch=35,
    lower_steps=3,
    warmup_steps=100,
    first_start=optax.tree.zeros_like if warm_start else None,
    num_shared_steps=_NUM_STEPS,
    step_size=optax.constant_schedule(0.02),
    momentum=0.9,
  )


def measure(
  method: types.HypergradientFn, *, warm_start: bool, num_steps: int = _NUM_STEPS
) -> Measured:
  """Runs the attack; the first steps of every surrogate do not count."""
  attack_data = problem.attack_data(data_sets.load("digits"), 8)
  attack, key = pacd.make(_settings(method, warm_start)), jax.random.key(0)
  step, restart = jax.jit(attack.step), jax.jit(attack.restart)
  state = attack.init(attack_data, key, None)
  residuals, products, alive = [], [], []
  for number in range(num_steps):
    if number % _RESTART == 0:
      state = restart(state, attack_data, key, 0, 0)
    state, values = step(state, attack_data, key)
    logged: dict[str, float] = {name: float(value) for name, value in values.items()}
    alive.append(sum(array.nbytes for array in jax.live_arrays()))
    if number % _RESTART >= min(_SETTLED, num_steps - 1):
      residuals.append(logged.get("relative_residual", np.nan))
      products.append(logged["num_products"])
  growth = alive[-1] - alive[0]
  return Measured(float(np.median(residuals)), float(np.mean(products)), growth)


def table(names: Sequence[str] = tuple(METHODS), num_steps: int = _NUM_STEPS) -> str:
  """A Markdown table: residuals and products, cold and warm, and how the state grows."""
  lines = [
    "| method | residual, from zero | warm | products in a step, from zero | warm "
    "| growth of the state |",
    "|---|---:|---:|---:|---:|---:|",
  ]
  for name in names:
    method, is_iterative = METHODS[name]
    cold = measure(method, warm_start=False, num_steps=num_steps)
    warm = cold
    if is_iterative:
      warm = measure(method, warm_start=True, num_steps=num_steps)
    residuals = f"{cold.residual:.2g} | {warm.residual:.2g}" if is_iterative else "- | -"
    products = f"{cold.products:.0f} | " + (f"{warm.products:.0f}" if is_iterative else "-")
    growth = max(cold.growth, warm.growth)
    lines.append(f"| `{name}` | {residuals} | {products} | {growth} bytes |")
  return "\n".join(lines) + "\n"
