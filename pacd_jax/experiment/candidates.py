"""Candidates: poisons that the attack makes on its way, one of which may be kept."""

from typing import NamedTuple

import numpy as np

from pacd_jax import errors
from pacd_jax.experiment.plan import Plan, SelectionPlan
from pacd_jax.runtime import metrics

ROW = "row"


class Candidate(NamedTuple):
  """A poison after `step` outer steps from a start; step 0 is the start itself."""

  start: str  # Or a row's name.
  step: int
  # "corners": moved to the corners of the budget; "row": a baseline's poison.
  finish: str = ""

  @property
  def name(self) -> str:
    return "_".join(filter(None, (self.start, str(self.step), self.finish)))


def selection(plan: Plan) -> SelectionPlan:
  """The plan for choosing one; ValueError where the attack keeps its last poison."""
  if plan.attack.selection is None:
    raise ValueError("the attack takes its last poison: it has no candidates")
  return plan.attack.selection


def listed(plan: Plan) -> list[Candidate]:
  """All candidates, in the order in which they are made."""
  every, num_steps = selection(plan).every, plan.attack.num_steps
  steps = sorted({num_steps, *(range(0, num_steps, every) if every else ())})
  found = [(step, "") for step in steps]
  if selection(plan).corners:
    found.append((num_steps, "corners"))
  of_starts = [
    Candidate(start, step, finish)
    for start in plan.attack.starts
    for step, finish in found
    if step or start not in plan.attack.clean_starts  # Clean images are no candidate.
  ]
  return of_starts + [Candidate(row, 0, ROW) for row in selection(plan).rows]


def make_rows(plan: Plan) -> None:
  """Makes the candidates that are baselines' poisons, and are not there yet."""
  for each in listed(plan):
    if each.finish == ROW and not plan.folder.candidate(each.name).exists():
      images = plan.baselines[each.start]()
      if not isinstance(images, np.ndarray):
        raise errors.InputError(
          f"attack.selection.rows has {each.start!r}, which changes more than the class's "
          "images: leave it out"
        )
      save(plan, each, images)


def save(plan: Plan, candidate: Candidate, images: np.ndarray) -> None:
  """Writes a candidate if it is finite: its step's metrics are checked only later."""
  sum_of_images = {f"the poison {candidate.name}": images.sum()}
  metrics.check_finite("attack", candidate.step, sum_of_images)
  plan.training_sets.save_candidate(candidate.name, images)
