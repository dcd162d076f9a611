"""The loop of every long stage: step, log, check, save; it resumes where it stopped."""

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from pacd_jax import types
from pacd_jax.runtime import checkpoint, metrics, preemption, progress

_State = TypeVar("_State")


def run(
  stage: str,
  step_fn: Callable[[_State, int], tuple[_State, types.Aux]],
  state: _State,
  num_steps: int,
  *,
  checkpoints: checkpoint.Checkpoints,
  metrics_file: metrics.MetricsFile,
  save_every: int,
  unit: str = "steps",
  headline: str,
  began: float | None = None,
  on_metrics: Callable[[str, int, dict[str, np.ndarray]], None] | None = None,
  phase: Callable[[int], str] = lambda step: "",
) -> _State:
  """Runs a stage to its last step, from its newest checkpoint if it has one.

  A step's metrics are fetched once the next step is under way, so that a single process
  keeps its device busy; several processes ask each other about SIGTERM in between, and wait
  for the step. Metrics are checked before any state that depends on them is saved. A line's
  `seconds` are the stage's wall time so far, earlier processes' included: a resumed stage
  counts from its checkpoint's line on, so steps that a kill lost do not count.

  Args:
    stage: its name in metrics, messages and the progress line.
    step_fn: `(state, step) -> (state, metrics)`; a function of its arguments alone.
    state: the state before the first step.
    num_steps: steps in all.
    checkpoints: the stage's checkpoints.
    metrics_file: the run's metrics.
    save_every: steps between two checkpoints; the last step is always saved.
    unit: what a step is called, in the plural.
    headline: the metric that the progress line shows.
    began: when this process began with the stage, by `time.monotonic`; now by default.
    on_metrics: called with stage, step and metrics, once these are known to be finite.
    phase: what the progress line says of a step before its metric, if anything.

  Returns:
    The state after the last step.

  Raises:
    errors.NonFiniteError: a metric is NaN or infinite.
    errors.InputError: there are checkpoints, but none that can be used.
    preemption.Preempted: SIGTERM came; the state after the step under way is saved.
  """
  began = time.monotonic() if began is None else began
  state, start = checkpoints.restore(state)
  metrics_file.rewind(stage, start)
  earlier = metrics_file.seconds(stage)
  if start >= num_steps:
    return state
  shown = progress.Progress(stage, num_steps, start=start, unit=unit)

  def record(step, values):
    values = {name: np.asarray(value) for name, value in values.items()}
    metrics.check_finite(stage, step, values)
    seconds = round(earlier + time.monotonic() - began, 3)
    metrics_file.write(stage, step, values | {"seconds": seconds})
    if on_metrics is not None:
      on_metrics(stage, step, values)
    words = f"{headline} {np.mean(values[headline]):.4g}"
    shown.update(step + 1, "  ".join(filter(None, (phase(step), words))))

  pending = None
  with preemption.deferred() as is_to_end:
    for step in range(start, num_steps):
      state, values = step_fn(state, step)
      if pending is not None:
        record(*pending)
      pending = step, values
      ends = is_to_end()
      if ends or (step + 1) % save_every == 0 or step + 1 == num_steps:
        record(*pending)
        pending = None
        checkpoints.save(step + 1, state)
      if ends:
        raise preemption.Preempted(f"{stage}: {step + 1}/{num_steps} {unit} are saved")
  return state
