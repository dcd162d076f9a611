"""PACD from every start, and the poison that fresh victims suffer from most.

The bilevel problem has several local optima (Theorem 1 of Mehra et al., 2021, proves two
in the linear case), and the surrogates that a poison was made with are not the victims: it
may wear off as they converge. So the attack runs from each of its starts, keeps poisons on
the way as candidates, trains fresh surrogates from scratch on each, as a victim is trained,
and keeps the candidate with the lowest ACR on the validation split. The test split is
never looked at, but for target points, where the attack is after these alone.
"""

import hashlib
import itertools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types
from pacd_jax.attacks import movement, pacd
from pacd_jax.certification import certify
from pacd_jax.data import arrays, poison_file, training_sets
from pacd_jax.experiment.plan import Plan
from pacd_jax.runtime import loop, metrics, progress, run_folder, sharding

_REMEDY = "delete checkpoints/attack and selection.json of the run, and run it again"


class Candidate(NamedTuple):
  """A poison on the way from a start: `step` 0 is the start itself."""

  start: str
  step: int
  finish: str = ""  # "corners": taken to the corners of the budget.

  @property
  def name(self) -> str:
    return "_".join(filter(None, (self.start, str(self.step), self.finish)))


def pacd_images(plan: Plan, began: float) -> tuple[np.ndarray, float]:
  """The attack's images, not yet rounded, and what they cost; resumes where it stopped.

  Args:
    plan: of the run.
    began: when this process began with the attack, by `time.monotonic`.

  Returns:
    Float `[n, H, W, C]`, and seconds: of the attack from all starts and of the selection.

  Raises:
    errors.NonFiniteError: a value of a step is not finite.
    errors.InputError: a candidate or a checkpoint is damaged or missing.
  """
  state = _run(plan, began)
  seconds = metrics.MetricsFile(plan.folder.metrics).seconds("attack")
  if plan.attack.selection is None:
    return _images(plan, state), seconds
  scores = _score_all(plan, _times(plan))
  best = min(candidates(plan), key=lambda each: np.mean(scores[each.name]["acr"]))
  _write_scores(plan, scores, chosen=best.name)
  seconds += sum(score["seconds"] for score in scores.values())
  return arrays.to_float(_load(plan, best).images), seconds


# --- the attack from every start ------------------------------------------------------


def candidates(plan: Plan) -> list[Candidate]:
  """All of them, in the order in which they are made."""
  every, num_steps = plan.attack.selection.every, plan.attack.num_steps
  steps = sorted({num_steps, *(range(0, num_steps, every) if every else ())})
  found = [(step, "") for step in steps]
  if plan.attack.selection.corners:
    found.append((num_steps, "corners"))
  return [
    Candidate(start, step, finish)
    for start in plan.attack.starts
    for step, finish in found
    if step or start != "clean"  # No poison is no candidate.
  ]


def _run(plan: Plan, began: float) -> pacd.AttackState:
  """One loop over the steps of all starts, one after the other."""
  run, whole = plan.attack, sharding.replicated(plan.attack.mesh)
  attack_data, key = sharding.replicate((run.attack_data(), run.key), run.mesh)
  step_fn = jax.jit(run.attack.step, out_shardings=whole)
  restart_fn = jax.jit(run.attack.restart, out_shardings=whole)
  names = list(run.starts)
  wanted = candidates(plan) if run.selection else []

  def keep(start, state, step):
    for candidate in wanted:
      if (candidate.start, candidate.step) == (start, step):
        _save(plan, candidate, _images(plan, state, candidate.finish))

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

  with plan.attack_checkpoints() as checkpoints:
    return loop.run(
      "attack",
      step,
      run.first_state(names[0]),
      run.num_steps * len(names),
      checkpoints=checkpoints,
      metrics_file=metrics.MetricsFile(plan.folder.metrics),
      save_every=run.save_every,
      headline="upper",
      began=began,
      on_metrics=_warn_once(run.remedy),
    )


def _warn_once(remedy: Callable[[float], str] | None):
  """Tells the first matrix that is not positive definite to a method that needs one."""
  told = remedy is None

  def on_metrics(stage, step, values):
    nonlocal told
    if not told and values["negative_curvature"]:  # The share of the surrogates.
      told = True  # metrics.jsonl has every step's.
      words = remedy(float(values["min_curvature"]))
      progress.note(f"{stage}: warning: step {step}: {words}")

  return on_metrics


def _images(plan: Plan, state: pacd.AttackState, finish: str = "") -> np.ndarray:
  base, delta = plan.attack.attack_data().base_images, np.asarray(state.delta)
  if finish == "corners":
    delta = movement.to_corners(
      base, delta, epsilon=plan.budget["epsilon"], shared=plan.attack.is_shared
    )
  return np.asarray(movement.poisoned_images(base, delta))


def _path(plan: Plan, candidate: Candidate):
  return plan.folder.candidate(candidate.name)


def _save(plan: Plan, candidate: Candidate, images: np.ndarray) -> None:
  """Writes a candidate; its step's metrics are looked at only after the next step."""
  sum_of_images = {f"the poison {candidate.name}": images.sum()}
  metrics.check_finite("attack", candidate.step, sum_of_images)
  poison_file.save(_path(plan, candidate), plan.poison(images))


def _load(plan: Plan, candidate: Candidate) -> types.Poison:
  return poison_file.load(_path(plan, candidate), remedy=_REMEDY)


# --- selection ------------------------------------------------------------------------


def _score_all(plan: Plan, times: dict[str, float]) -> dict[str, dict[str, Any]]:
  """Every candidate's ACR under each fresh surrogate, as `selection.json` has them."""
  scores, found = read_scores(plan), candidates(plan)
  num_surrogates = len(plan.attack.selection.train.keys)
  shown = progress.Progress("select", len(found) * num_surrogates, unit="surrogates")
  for candidate in found:
    digest = _digest(plan, candidate)
    if scores.get(candidate.name, {}).get("sha256") != digest:  # Made anew: judged anew.
      fields = {"attack_seconds": times[candidate.name], "sha256": digest}
      named = {"name": candidate.name, **candidate._asdict()}
      scores[candidate.name] = {**named, "acr": [], "seconds": 0.0} | fields
  for done, (candidate, seed) in enumerate(
    itertools.product(found, range(num_surrogates)), start=1
  ):
    score = scores[candidate.name]
    if seed >= len(score["acr"]):
      began = time.monotonic()
      score["acr"].append(_score(plan, candidate, seed))
      score["seconds"] = round(score["seconds"] + time.monotonic() - began, 3)
      _write_scores(plan, scores)
    shown.update(done, f"{candidate.name}: ACR {score['acr'][seed]:.3f}")
  return scores


def _times(plan: Plan) -> dict[str, float]:
  """Seconds from each candidate's start to it, as metrics.jsonl has them."""
  by_step = metrics.MetricsFile(plan.folder.metrics).seconds_by_step("attack")
  after = {0: 0.0} | {step + 1: seconds for step, seconds in by_step.items()}
  num_steps = plan.attack.num_steps
  firsts = {start: i * num_steps for i, start in enumerate(plan.attack.starts)}
  return {
    each.name: round(after[firsts[each.start] + each.step] - after[firsts[each.start]], 3)
    for each in candidates(plan)
  }


def _digest(plan: Plan, candidate: Candidate) -> str:
  _load(plan, candidate)  # One line where it is missing or damaged.
  contents = poison_file.read_bytes(_path(plan, candidate))
  return hashlib.sha256(contents).hexdigest()


def _write_scores(plan: Plan, scores: dict[str, dict[str, Any]], **chosen: str) -> None:
  run_folder.write_json(
    plan.folder.selection, {"candidates": list(scores.values()), **chosen}
  )


def read_scores(plan: Plan) -> dict[str, dict[str, Any]]:
  """What `selection.json` holds, by the candidates' names; empty where there is none.

  Raises:
    errors.InputError: it is damaged.
  """
  path = plan.folder.selection
  if not path.exists():
    return {}
  there = run_folder.read_json(path)
  try:
    scores = {_name(score): score for score in there["candidates"]}
    whole = all(
      np.isfinite([score["seconds"], score["attack_seconds"], *score["acr"]]).all()
      and isinstance(score["sha256"], str)
      for score in scores.values()
    )
  except (KeyError, TypeError):
    whole = False
  if not whole:
    raise errors.InputError(f"{path} is damaged: delete it and run again")
  return scores


def _name(score: dict[str, Any]) -> str:
  """Folders from before there were corners have no names of their own."""
  return score.get("name") or Candidate(score["start"], score["step"]).name


def _score(plan: Plan, candidate: Candidate, seed: int) -> float:
  """ACR of one surrogate on what the attack sees; trained from scratch as a victim is."""
  selection = plan.attack.selection
  poison = _load(plan, candidate)
  poisoned = training_sets.poisoned(plan.splits.train, poison)
  run, keys = selection.train, selection.train.keys[np.array([seed])]
  state, *given = sharding.replicate(
    (
      run.trainer.init(keys),
      training_sets.stack([poisoned]),
      jnp.zeros(1, jnp.int32),
      keys,
    ),
    run.mesh,
  )
  for epoch in range(run.num_epochs):
    state, values = run.trainer.epoch(state, *given)
    metrics.check_finite("select", epoch, jax.tree.map(np.asarray, values))
  params = jax.tree.map(lambda leaf: np.asarray(leaf)[0], state.params)
  points, options = selection.certify, selection.certify.options
  labels = points.dataset.labels[points.indices]
  predicted, radii, _ = certify.certify(
    plan.model.apply,
    params,
    arrays.to_float(points.dataset.images[points.indices]),
    jax.random.fold_in(points.key, seed),
    labels=labels,
    **options,
  )
  return float(np.where(predicted == labels, radii, 0.0).mean())
