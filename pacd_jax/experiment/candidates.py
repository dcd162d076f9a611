"""Poisons that the attack makes on its way, of which one may be kept."""

from typing import NamedTuple

import numpy as np

from pacd_jax.experiment.plan import Plan, SelectionPlan
from pacd_jax.runtime import metrics


class Candidate(NamedTuple):
  """A poison on the way from a start: `step` 0 is the start itself."""

  start: str
  step: int
  finish: str = ""  # "corners": taken to the corners of the budget.

  @property
  def name(self) -> str:
    return "_".join(filter(None, (self.start, str(self.step), self.finish)))


def selection(plan: Plan) -> SelectionPlan:
  """How one is chosen; ValueError where the attack takes its last poison."""
  if plan.attack.selection is None:
    raise ValueError("the attack takes its last poison: it has no candidates")
  return plan.attack.selection


def listed(plan: Plan) -> list[Candidate]:
  """All of them, in the order in which they are made."""
  every, num_steps = selection(plan).every, plan.attack.num_steps
  steps = sorted({num_steps, *(range(0, num_steps, every) if every else ())})
  found = [(step, "") for step in steps]
  if selection(plan).corners:
    found.append((num_steps, "corners"))
  return [
    Candidate(start, step, finish)
    for start in plan.attack.starts
    for step, finish in found
    if step or start not in plan.attack.clean_starts  # No poison is no candidate.
  ]


def save(plan: Plan, candidate: Candidate, images: np.ndarray) -> None:
  """Writes a candidate; its step's metrics are looked at only after the next step."""
  sum_of_images = {f"the poison {candidate.name}": images.sum()}
  metrics.check_finite("attack", candidate.step, sum_of_images)
  plan.training_sets.save_candidate(candidate.name, images)
