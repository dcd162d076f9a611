"""Certificates of the test images that attackers want: with the trigger, and without.

Beside `certificates/<row>/seed_<k>`, a row whose poison has a goal has `goal/seed_<k>`, of
the goal's images with its trigger, and if there is one `goal_untriggered/seed_<k>`, of the
same images without it. Clean victims are the control: where the run has them, they are
certified on the images of every goal, in `certificates/clean`: those of goals without a
trigger in `goal/seed_<k>`, and those of each other one in `control/<row>/seed_<k>`, with
its trigger. The noise of a point is the same in all of them.
"""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from pacd_jax import train, types
from pacd_jax.certification import certificates
from pacd_jax.data import arrays, goals, npz_arrays
from pacd_jax.experiment import triggers
from pacd_jax.experiment.plan import Plan
from pacd_jax.runtime import stamp

_STREAM = 3  # Of the draw of points, beside the run's other draws on the host.
_SHOWN = 8  # Images of a page.


class _Target(NamedTuple):
  """One set of files of a victim: the goal's points, with its trigger or without."""

  stem: pathlib.Path
  goal: types.Goal
  triggered: bool


def of(plan: Plan, row: str) -> types.Goal | None:
  """What the row's attacker wants of test images; None: nothing of single ones.

  Clean data's is the points of the other rows' goals without a trigger, as a control: how
  often victims give them the label without an attack. Its label is the target class.
  """
  if row != types.CLEAN:
    return plan.training_sets.goal(row)
  joined = {p for goal in _others(plan).values() if _joins(plan, goal) for p in goal.points}
  return types.Goal(plan.target_class, tuple(sorted(joined))) if joined else None


def _others(plan: Plan) -> dict[str, types.Goal]:
  """The goals of the other rows, which clean victims control; once all poisons are made."""
  if not all(map(plan.training_sets.is_there, plan.rows)):
    return {}
  found = {row: plan.training_sets.goal(row) for row in plan.rows if row != types.CLEAN}
  return {row: goal for row, goal in found.items() if goal is not None}


def _joins(plan: Plan, goal: types.Goal) -> bool:
  """Whether the control of the goal is one with that of others like it."""
  return bool(goal.points) and not goal.trigger and goal.label == plan.target_class


def check(plan: Plan, row: str) -> None:
  """Raises `errors.InputError` unless the goal of a row's poison fits the run's data."""
  if (goal := of(plan, row)) is None:
    return
  _positions(plan, goal)
  if goal.trigger:
    triggers.of_text(goal.trigger, plan.splits.train.images.shape[1:])


def _split(plan: Plan, goal: types.Goal) -> str:
  """The split of the goal's images; chosen points are of the test split."""
  return "test" if goal.points else plan.certify.split


def _positions(plan: Plan, goal: types.Goal) -> np.ndarray:
  dataset = plan.splits.named(_split(plan, goal))
  return goals.positions(goal, dataset, plan.splits.num_classes)


def _certified(plan: Plan, goal: types.Goal) -> np.ndarray:
  """The images that are certified: chosen points, or as many as of the target class."""
  positions = _positions(plan, goal)
  if goal.points or len(positions) <= len(plan.certify.indices):
    return positions
  generator = np.random.default_rng((plan.config.seed, _STREAM))
  return np.sort(generator.permutation(positions)[: len(plan.certify.indices)])


def targets(plan: Plan, row: str, seed: int) -> Iterator[tuple[pathlib.Path, dict]]:
  """The files that a victim has of its goal: each stem, and its sidecar's identity."""
  for each in _targets(plan, row, seed):
    yield each.stem, _identity(plan, row, seed, each)


def _targets(plan: Plan, row: str, seed: int) -> list[_Target]:
  found, goal = [], of(plan, row)
  if goal is not None:
    for triggered in (True, False) if goal.trigger else (True,):
      stem = plan.folder.goal(row, seed, triggered=triggered)
      found.append(_Target(stem, goal, triggered))
  if row == types.CLEAN:
    for other, of_other in _others(plan).items():
      if not _joins(plan, of_other):
        found.append(_Target(plan.folder.control(other, seed), of_other, triggered=True))
  return found


def _identity(plan: Plan, row: str, seed: int, target: _Target) -> dict[str, Any]:
  split = _split(plan, target.goal)
  points = _certified(plan, target.goal)
  return plan.certify.identity(points, plan.certify_key(seed)) | {
    **plan.victim_identity(row, seed),
    "split": split,
    "certified_on": arrays.checksum(plan.splits.named(split)),
    "goal": goals.to_text(target.goal),
    "triggered": target.triggered and bool(target.goal.trigger),
  }


def certify_goal(
  plan: Plan,
  row: str,
  seed: int,
  params: types.Params,
  shown: Callable[[str], Callable[..., None]],
) -> None:
  """Certifies one victim on its goal's images, or resumes that.

  Args:
    plan: the run's.
    row, seed: the victim,
    params: and its parameters.
    shown: makes the function that shows the progress of a part, by the part's name.
  """
  own = plan.folder.certificate(row, seed).parent
  for target in _targets(plan, row, seed):
    if certificates.is_complete(target.stem):
      continue
    goal = target.goal
    dataset = plan.splits.named(_split(plan, goal))
    positions = _positions(plan, goal)
    if target.triggered and goal.trigger:
      dataset = _with_trigger(dataset, positions, goal.trigger)
    plan.certify.procedure.certify_to_files(
      params,
      dataset,
      _certified(plan, goal),
      plan.certify_key(seed),
      target.stem,
      seed=seed,
      extra={
        **_identity(plan, row, seed, target),
        **_rates(plan, goal, params, dataset, positions),
        "stamp": stamp.make(),
      },
      on_point=shown(str(target.stem.parent.relative_to(own))),
      stops_early=False,
    )


def _with_trigger(
  dataset: types.Dataset, positions: np.ndarray, text: str
) -> types.Dataset:
  """The split with the trigger on the images at these positions."""
  images = dataset.images.copy()
  trigger = triggers.of_text(text, images.shape[1:])
  images[positions] = triggers.put_on(trigger, images[positions])
  return dataset._replace(images=images)


def _rates(
  plan: Plan,
  goal: types.Goal,
  params: types.Params,
  dataset: types.Dataset,
  positions: np.ndarray,
) -> dict[str, float | int]:
  """What the base classifier says of all of the goal's images, without noise.

  "success" is the share that gets the goal's label, "accuracy" that which gets its own.
  """
  images, labels = dataset.images[positions], dataset.labels[positions]
  dtype, apply = plan.certify.settings.dtype, plan.model.apply
  right = train.accuracy(apply, params, types.Dataset(images, labels), dtype=dtype)
  success = 1.0 - right
  if goal.label >= 0:
    wanted = types.Dataset(images, np.full_like(labels, goal.label))
    success = train.accuracy(apply, params, wanted, dtype=dtype)
  return {"success": success, "accuracy": right, "num_goal_points": len(positions)}


def write_images(plan: Plan) -> None:
  """Writes a few of each triggered goal's images, before and after, for the page."""
  for row in plan.rows:
    goal = of(plan, row)
    if goal is None or not goal.trigger:
      continue
    positions = _certified(plan, goal)
    spread = np.linspace(0, len(positions) - 1, min(_SHOWN, len(positions)))
    chosen = positions[spread.round().astype(int)]
    before = plan.splits.named(_split(plan, goal)).images[chosen]
    trigger = triggers.of_text(goal.trigger, before.shape[1:])
    after = triggers.put_on(trigger, before)
    path = plan.folder.goal_images(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    npz_arrays.save(path, {"before": before, "after": after})
