"""What the warm start of the linear solve saves an attack, and what its state takes.

PACD on scikit-learn's digits, as `configs/digits_ga.py` has it with an MLP for the victim:
every outer step solves its system from zero, or from the same surrogate's last solution.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import optax

from pacd_jax import data, hypergradient, linear_solve, losses, models, types
from pacd_jax.attacks import objectives, pacd, problem
from pacd_jax.solvers import single_loop

_SIGMA, _DAMPING, _NUM_STEPS, _RESTART, _SETTLED = 0.25, 0.1, 60, 30, 5

SOLVERS = {
  **{
    f"cg, {steps} steps": functools.partial(
      linear_solve.conjugate_gradient, max_steps=steps
    )
    for steps in (1, 3, 10)
  },
  "single_loop, 1 step": functools.partial(
    single_loop.single_loop, num_steps=1, step_size=1.0
  ),
}


class Measured(NamedTuple):
  """Of one attack's outer steps."""

  residual: float  # Median of |b - A p| / |b|.
  products: float  # Mean number of products in a step.
  growth: int  # Bytes of live arrays after the last step over those after the first.


def _damped(solve: types.SolveFn) -> types.SolveFn:
  return lambda matvec, b, start: solve(linear_solve.damped(matvec, _DAMPING), b, start)


def _settings(solve: types.SolveFn, warm_start: bool) -> problem.Settings:
  model = models.make("mlp", num_classes=10, image_shape=(8, 8, 1))
  return problem.Settings(
    model=model,
    loss=losses.gaussian_augmentation(model.apply, sigma=_SIGMA),
    hypergradient=functools.partial(hypergradient.approx_grad, solve=_damped(solve)),
    optimizer=optax.adam(1e-3),
    objective=objectives.soft_acr(model.apply, sigma=_SIGMA),
    epsilon=0.1,
    clean_batch=180,
    poison_batch=20,
    val_batch=35,
    lower_steps=3,
    warmup_steps=100,
    warm_start=warm_start,
    num_shared_steps=_NUM_STEPS,
    step_size=optax.constant_schedule(0.02),
    momentum=0.9,
  )


def measure(
  solve: types.SolveFn, *, warm_start: bool, num_steps: int = _NUM_STEPS
) -> Measured:
  """Runs the attack; the first steps of every surrogate do not count."""
  attack_data = problem.attack_data(data.load("digits"), 8)
  attack, key = pacd.make(_settings(solve, warm_start)), jax.random.key(0)
  step, restart = jax.jit(attack.step), jax.jit(attack.restart)
  state = attack.init(attack_data, key)
  residuals, products, alive = [], [], []
  for number in range(num_steps):
    if number % _RESTART == 0:
      state = restart(state, attack_data, key, 0, 0)
    state, logged = step(state, attack_data, key)
    logged = {name: float(value) for name, value in logged.items()}
    alive.append(sum(array.nbytes for array in jax.live_arrays()))
    if number % _RESTART >= min(_SETTLED, num_steps - 1):
      residuals.append(logged["relative_residual"])
      products.append(logged["num_products"])
  growth = alive[-1] - alive[0]
  return Measured(float(np.median(residuals)), float(np.mean(products)), growth)


def table(solvers: dict[str, Callable] | None = None, num_steps: int = _NUM_STEPS) -> str:
  """Markdown: residuals and products, cold and warm."""
  lines = [
    "| solver | residual, from zero | warm | products in a step, from zero | warm "
    "| growth of the state |",
    "|---|---:|---:|---:|---:|---:|",
  ]
  for name, solve in (solvers or SOLVERS).items():
    cold, warm = (
      measure(solve, warm_start=warm, num_steps=num_steps) for warm in (False, True)
    )
    lines.append(
      f"| `{name}` | {cold.residual:.2g} | {warm.residual:.2g} | {cold.products:.0f} "
      f"| {warm.products:.0f} | {max(cold.growth, warm.growth)} bytes |"
    )
  return "\n".join(lines) + "\n"
