"""PACD from every start.

The bilevel problem has several local optima (Theorem 1 of Mehra et al., 2021, proves two
in the linear case), and the surrogates that a poison was made with are not the victims: it
may wear off as they converge. So the attack runs from each of its starts, keeps poisons on
the way as candidates (`candidates.py`), and chooses one (`selection.py`). It never sees the
test split, except for target points if the config names some.
"""

from collections.abc import Callable

import jax
import numpy as np

from pacd_jax.attacks import movement, pacd
from pacd_jax.data import arrays
from pacd_jax.experiment import candidates, selection
from pacd_jax.experiment.plan import Plan
from pacd_jax.runtime import loop, metrics, progress, sharding


def pacd_images(plan: Plan, began: float) -> tuple[np.ndarray, float]:
  """Runs or resumes the attack; returns its images as floats, and the time it took.

  Args:
    plan: the run's plan.
    began: when this process began with the attack, by `time.monotonic`.

  Returns:
    Float `[n, H, W, C]`, and seconds, of the attack from all starts and the selection.

  Raises:
    errors.NonFiniteError: a value of a step is not finite.
    errors.InputError: a candidate or a checkpoint is damaged or missing.
  """
  state = _run(plan, began)
  seconds = metrics.MetricsFile(plan.folder.metrics).seconds("attack")
  if plan.attack.selection is None:
    return _images(plan, state), seconds
  candidates.make_rows(plan)
  images, of_choice = selection.choose(plan)
  return arrays.to_float(images), seconds + of_choice


def _run(plan: Plan, began: float) -> pacd.AttackState:
  """Runs one loop over the steps of all starts, one start after the other."""
  run, whole = plan.attack, sharding.replicated(plan.attack.mesh)
  attack_data, key = sharding.replicate((run.attack_data(), run.key), run.mesh)
  step_fn = jax.jit(run.attack.step, out_shardings=whole)
  restart_fn = jax.jit(run.attack.restart, out_shardings=whole)
  names = list(run.starts)
  wanted = candidates.listed(plan) if run.selection else []

  def keep(start, state, step):
    for candidate in wanted:
      if (candidate.start, candidate.step) == (start, step):
        candidates.save(plan, candidate, _images(plan, state, candidate.finish))

  def step(state, number):
    index, step = divmod(number, run.num_steps)
    start = names[index]
    if step == 0:
      state = run.first_state(start)
      keep(start, state, 0)
    fresh = run.due(step)
    for member, age in fresh:
      state = restart_fn(state, attack_data, key, member, age)
    state, values = step_fn(state, attack_data, key)
    keep(start, state, step + 1)
    return state, values | {"restart": bool(fresh), "start": index}

  with plan.attack_checkpoints() as checkpoints, plan.metrics_file() as metrics_file:
    return loop.run(
      "attack",
      step,
      run.first_state(names[0]),
      run.num_steps * len(names),
      checkpoints=checkpoints,
      metrics_file=metrics_file,
      save_every=run.save_every,
      headline="upper",
      began=began,
      on_metrics=_warn_once(run.remedy),
    )


def _warn_once(remedy: Callable[[float], str] | None):
  """Warns at the first matrix that is not positive definite, if the method needs that."""
  told = remedy is None

  def on_metrics(stage, step, values):
    nonlocal told
    if not told and values["negative_curvature"]:  # The share of surrogates with it.
      told = True  # metrics.jsonl has every step's.
      words = remedy(float(values["min_curvature"]))
      progress.note(f"{stage}: warning: step {step}: {words}")

  return on_metrics


def _images(plan: Plan, state: pacd.AttackState, finish: str = "") -> np.ndarray:
  base, delta = plan.attack.attack_data().base_images, np.asarray(state.delta)
  if finish == "corners":
    delta = movement.to_corners(
      base, delta, epsilon=plan.budget.epsilon, shared=plan.attack.is_shared
    )
  return np.asarray(movement.poisoned_images(base, delta))
