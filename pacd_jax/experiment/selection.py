"""Chooses which of the attack's poisons is kept: the one with the lowest ACR.

For each candidate, fresh surrogates are trained from scratch, as victims are, and certified
on what the attack sees; `selection.json` holds their ACR, so that a choice is resumable.
"""

import hashlib
import itertools
import time
from typing import Any

import jax
import numpy as np

from pacd_jax import errors
from pacd_jax.experiment import candidates, victims
from pacd_jax.experiment.candidates import Candidate
from pacd_jax.experiment.plan import Plan
from pacd_jax.runtime import files, metrics, progress, run_folder, stamp

Scores = dict[str, dict[str, Any]]  # Name of a candidate -> its record in `selection.json`.


def choose(plan: Plan) -> tuple[np.ndarray, float]:
  """Chooses the candidate with the lowest mean ACR; returns it, and the time it took.

  Returns:
    Its images, uint8 `[n, H, W, C]`, and seconds.

  Raises:
    errors.InputError: a candidate is damaged or missing, or selection.json is damaged.
    errors.NonFiniteError: a surrogate's loss is not finite.
  """
  scores = _score_all(plan, _times(plan))
  best = min(candidates.listed(plan), key=lambda each: np.mean(scores[each.name]["acr"]))
  _write_scores(plan, scores, chosen=best.name)
  seconds = sum(score["seconds"] for score in scores.values())
  return plan.training_sets.candidate(best.name)[1], seconds


def _score_all(plan: Plan, times: dict[str, float]) -> Scores:
  """Computes every candidate's ACR under each fresh surrogate, for `selection.json`."""
  scores, found = read_scores(plan), candidates.listed(plan)
  num_surrogates = len(candidates.selection(plan).train.keys)
  shown = progress.Progress("select", len(found) * num_surrogates, unit="surrogates")
  for candidate in found:
    digest = _digest(plan, candidate)
    if scores.get(candidate.name, {}).get("sha256") != digest:  # Made anew: scored anew.
      fields = {"attack_seconds": times[candidate.name], "sha256": digest}
      named = {"name": candidate.name, **candidate._asdict()}
      scores[candidate.name] = {**named, "acr": [], "seconds": 0.0} | fields
  for number, candidate in enumerate(found):
    score = scores[candidate.name]
    for seeds in _groups(plan, num_surrogates):
      if len(score["acr"]) < seeds.stop:
        began = time.monotonic()
        score["acr"][seeds.start :] = _acrs(plan, candidate, seeds)
        score["seconds"] = round(score["seconds"] + time.monotonic() - began, 3)
        _write_scores(plan, scores)
      mean = np.mean(score["acr"][: seeds.stop])
      words = f"{candidate.name}: ACR {mean:.3f}"
      shown.update(number * num_surrogates + seeds.stop, words)
  return scores


def _groups(plan: Plan, num_surrogates: int) -> list[range]:
  """The seeds of surrogates that are trained together, in groups of about one size."""
  at_once = candidates.selection(plan).at_once
  num_groups = -(-num_surrogates // at_once)
  ends = [num_surrogates * (i + 1) // num_groups for i in range(num_groups)]
  return [range(*pair) for pair in itertools.pairwise([0, *ends])]


def _times(plan: Plan) -> dict[str, float]:
  """Seconds from each candidate's start to it, as metrics.jsonl has them."""
  by_step = metrics.MetricsFile(plan.folder.metrics).seconds_by_step("attack")
  after = {0: 0.0} | {step + 1: seconds for step, seconds in by_step.items()}
  num_steps = plan.attack.num_steps
  firsts = {start: i * num_steps for i, start in enumerate(plan.attack.starts)}

  def until(step):  # A line of the log may be damaged: the one before it is near.
    return after[max(known for known in after if known <= step)]

  def seconds(each):
    if each.finish == candidates.ROW:  # Not optimised; the report has a row's own time.
      return 0.0
    first = firsts[each.start]
    return round(max(0.0, until(first + each.step) - until(first)), 3)

  return {each.name: seconds(each) for each in candidates.listed(plan)}


def _digest(plan: Plan, candidate: Candidate) -> str:
  plan.training_sets.candidate(candidate.name)  # InputError if missing or damaged.
  contents = files.read_bytes(plan.folder.candidate(candidate.name))
  return hashlib.sha256(contents).hexdigest()


def _write_scores(plan: Plan, scores: Scores, **chosen: str) -> None:
  run_folder.write_json(
    plan.folder.selection,
    {
      "stamp": stamp.make(),
      "run": plan.folder.fingerprint,
      "candidates": list(scores.values()),
      **chosen,
    },
  )


def read_scores(plan: Plan) -> Scores:
  """Reads `selection.json`, by the candidates' names; empty where there is none.

  Raises:
    errors.InputError: the file is damaged.
  """
  path = plan.folder.selection
  if not path.exists():
    return {}
  there = run_folder.read_json(path)
  if there.get("run", plan.folder.fingerprint) != plan.folder.fingerprint:
    raise errors.InputError(f"{path} is of another run: delete it and run again")
  scores: Scores = {}
  try:
    scores = {score["name"]: score for score in there["candidates"]}
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


def _acrs(plan: Plan, candidate: Candidate, seeds: range) -> list[float]:
  """Trains surrogates from scratch; returns each one's ACR on what the attack sees."""
  selection = candidates.selection(plan)
  poisoned, _ = plan.training_sets.candidate(candidate.name)
  several = victims.train(
    selection.train,
    selection.defend(poisoned),
    jax.random.clone(selection.train.keys)[np.array(seeds)],
    stage="select",
    shows=False,
  )
  points = selection.certify
  images = points.dataset.images[points.indices]
  labels = points.dataset.labels[points.indices]
  acrs = []
  for place, seed in enumerate(seeds):
    params = jax.tree.map(lambda leaf, i=place: leaf[i], several)
    key = jax.random.fold_in(points.key, seed)
    predicted, radii = points.procedure.certify(params, images, labels, key)
    acrs.append(float(np.where(predicted == labels, radii, 0.0).mean()))
  return acrs
