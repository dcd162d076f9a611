"""The four stages of a run, on functions and plain values: attack, train, certify, report.

Each does what its folder lacks and resumes where a kill stopped it; `check` inspects the
folder before any of them starts.
"""

import functools
import time
from collections.abc import Callable, Collection, Sequence

import jax
import numpy as np

from pacd_jax import train, types
from pacd_jax.certification import certificates, denoised
from pacd_jax.data import arrays
from pacd_jax.data import goals as goal_texts
from pacd_jax.experiment import (
  checks,
  denoise_stage,
  ensemble_certificates,
  goals,
  kinds,
  search,
  weight_decay,
  words,
)
from pacd_jax.experiment.plan import Plan
from pacd_jax.experiment.train_stage import train_victims as train_victims
from pacd_jax.results import ensembles, evaluate, tables, verified
from pacd_jax.results import goals as goal_results
from pacd_jax.runtime import (
  processes,
  progress,
  run_folder,
  stamp,
  tensorboard,
)

NAMES = ("attack", "train", "certify", "report")


def check(
  plan: Plan, names: Collection[str], *, allow_other_versions: bool = False
) -> bool:
  """Checks everything that the stages will read; starts and changes nothing.

  Args:
    plan: the run's plan.
    names: the stages' names.
    allow_other_versions: whether to resume a run that other code or versions began.

  Returns:
    Whether there is anything to make, but for the report: `RunFolder.claim` asks.

  Raises:
    errors.InputError: as from `checks.check` and `RunFolder.check_made_by`; or tensorboardX
      is wanted, and not installed.
  """
  works = checks.has_work(plan, names)
  if works:
    with processes.agreeing():
      if plan.config.tensorboard:
        tensorboard.check_installed()
      plan.folder.check_made_by(allow_other_versions=allow_other_versions)
  checks.check(plan, names)
  return works


# --- attack ---------------------------------------------------------------------------


def attack(plan: Plan) -> None:
  """Makes the poisons that are missing: `poison/<row>.npz`."""
  for row in plan.rows:
    if plan.training_sets.is_there(row):
      continue
    if plan.training_sets.is_given(row):
      plan.training_sets.copy_given(row)
      continue
    began = time.monotonic()
    if row == types.PACD:
      images, seconds = search.pacd_images(plan, began)
    else:
      images = plan.baselines[row]()
      seconds = round(time.monotonic() - began, 6)
    # All processes train victims on the same.
    plan.training_sets.save(row, _from_first(images), seconds)


def _from_first(made: np.ndarray | kinds.Poisoned) -> np.ndarray | kinds.Poisoned:
  """Process 0's poison, in every process: its arrays as such, and its goal as text."""
  if not isinstance(made, kinds.Poisoned):
    return processes.from_first(made)
  text = processes.all_texts(goal_texts.to_text(made.goal))[0]
  arrays_of_all = processes.from_first(made._replace(goal=None))
  return arrays_of_all._replace(goal=goal_texts.of_text(text))


# --- certify --------------------------------------------------------------------------


def certify_victims(plan: Plan) -> None:
  """Certifies every victim of every row on the same test points."""
  if checks.is_certified(plan):
    return
  for (row, seed), params in load_victims(plan).items():
    if not _is_complete(plan, row, seed):
      _certify_one(plan, row, seed, params)
    goals.certify_goal(plan, row, seed, params, functools.partial(_shown, row, seed))


def _is_complete(plan: Plan, row: str, seed: int) -> bool:
  if plan.ensemble is not None:
    return ensemble_certificates.are_complete(plan, row, seed)
  return certificates.is_complete(plan.folder.certificate(row, seed))


def load_victims(plan: Plan) -> dict[tuple[str, int], types.Params]:
  """The parameters of every victim, by row and seed, from the last checkpoint.

  They are those that `plan.model` takes, with the denoiser's if there is one. Under early
  stopping they are those of each victim's best epoch.

  Raises:
    errors.InputError: it is damaged or of another run, or the victims are not trained yet.
  """
  with plan.victim_checkpoints() as checkpoints:
    state, epochs = checkpoints.restore(plan.first_victims())
  checks.check_epochs(plan, epochs)
  victims = [(row, seed) for row in plan.classifier_rows for seed in plan.seeds]
  params = jax.tree.map(np.asarray, state.params)
  if plan.ensemble is not None:
    params = plan.ensemble.joined(params)
  found = {
    victim: jax.tree.map(lambda leaf, v=number: leaf[v], params)
    for number, victim in enumerate(victims)
  }
  if plan.denoiser is None:
    return found
  return {
    (row, seed): denoised.Params(found[plan.classifier_row(row), seed], denoiser)
    for (row, seed), denoiser in denoise_stage.load(plan).items()
  }


def _certify_one(plan: Plan, row: str, seed: int, params: types.Params) -> None:
  extra = plan.victim_identity(row, seed) | {"stamp": stamp.make()}
  dataset, on_point = plan.certify.dataset, _shown(row, seed)
  if plan.ensemble is None:
    extra |= _accuracies(plan, params)
    if plan.denoiser is not None:
      extra |= denoise_stage.measured(plan, params)
  else:
    extra |= ensemble_certificates.against_poison(plan, row, seed, params, extra)
    if plan.ensemble.levels != (0,):
      ensemble_certificates.at_levels(plan, row, seed, params, extra, on_point)
      return
  plan.certify.procedure.certify_to_files(
    params,
    dataset,
    plan.certify.indices,
    plan.certify_key(seed),
    plan.folder.certificate(row, seed),
    seed=seed,
    extra=extra,
    on_point=on_point,
  )


def _accuracies(plan: Plan, params: types.Params) -> dict[str, float]:
  """The base classifier's over all classes and over the target class, without noise.

  Also what the procedure measures of the whole split.
  """
  dataset, dtype = plan.certify.dataset, plan.certify.settings.dtype
  target = arrays.class_indices(dataset, plan.target_class)
  of_class = types.Dataset(dataset.images[target], dataset.labels[target])
  found = {
    name: train.accuracy(plan.model.apply, params, points, dtype=dtype)
    for name, points in (("accuracy", dataset), ("class_accuracy", of_class))
  }
  return found | plan.certify.procedure.measured(params, dataset)


def _shown(row: str, seed: int, part: str = "") -> Callable[..., None]:
  """Shows the progress of one victim, or of a part of it, from its first point on."""
  shown = None

  def on_point(done, total, result, label):
    nonlocal shown
    if shown is None:
      name = "/".join(["certify", row, f"seed_{seed}", *([part] if part else [])])
      shown = progress.Progress(name, total, start=done - 1, unit="points")
    shown.update(done)

  return on_point


# --- report ---------------------------------------------------------------------------


def reports(stage_names: Collection[str]) -> bool:
  """Whether this process reports: process 0, if "report" is among the stages."""
  return "report" in stage_names and processes.is_first()


def write_report(plan: Plan) -> None:
  """Writes `results.json`, then the pictures and the page, in process 0 alone."""
  from pacd_jax.results import report  # Imported here: Matplotlib takes a second.

  if not processes.is_first():
    return
  run_folder.write_json(
    plan.folder.results, _results(plan) | {"stamps": plan.folder.stamps()}
  )
  goals.write_images(plan)
  report.write(plan.folder.path)


def table(plan: Plan) -> str:
  """The table of `results.json`, as text."""
  return tables.table(run_folder.read_json(plan.folder.results))


def _results(plan: Plan) -> evaluate.Results:
  records = {
    row: evaluate.read_records(plan.folder.certificate(row, 0).parent) for row in plan.rows
  }
  found = evaluate.results(
    records,
    dataset=plan.splits.name,
    description=plan.splits.description,
    target_class=plan.target_class,
    model=plan.model_name,
    training=plan.training,
    remarks=words.remarks(plan.config),
    rows={row: _about(plan, row, records[row]) for row in plan.rows},
    epsilon=plan.budget.epsilon,
    norm=plan.budget.norm,
  )
  if plan.ensemble is not None:
    for row in found["rows"]:
      folder = plan.folder.certificate(row["data"], 0).parent
      row[ensembles.FIELD] = ensembles.summarize(folder)
  for row in found["rows"]:
    if numbers := verified.summarize(records[row["data"]]):
      row[verified.FIELD] = numbers
    folder = plan.folder.certificate(row["data"], 0).parent
    if goal := goal_results.summarize(folder):
      row[goal_results.FIELD] = goal
  return found


def _about(plan: Plan, row: str, records: Sequence[certificates.Record]) -> evaluate.About:
  """The facts about a row that results have beside its numbers."""
  sets, style = plan.training_sets, words.style(row)
  epsilon, norm = sets.budget(row)
  facts = [sets.facts(row), plan.defended.facts(row), weight_decay.facts(plan, row)]
  if plan.ensemble is not None:
    facts.append(ensemble_certificates.facts(plan, row))
  facts.append(denoise_stage.facts(plan, records))
  if plan.stopping is not None:
    facts.append(plan.stopping.facts(plan.folder.metrics, row))
  return evaluate.About(
    epsilon=epsilon,
    norm=norm,
    attack_seconds=sets.attack_seconds(row),
    words=" ".join(each for each in (words.origin(row, plan.config), *facts) if each),
    is_given=sets.is_given(row),
    style=None if style is None else tuple(style),
  )


RUN = {
  "attack": attack,
  "train": train_victims,
  "certify": certify_victims,
  "report": write_report,
}


def run(plan: Plan, names: Sequence[str]) -> None:
  """Runs stages by their names, in order; call `check` before."""
  for name in names:
    RUN[name](plan)


def run_alone(
  plan: Plan, names: Sequence[str], *, allow_other_versions: bool = False
) -> None:
  """Locks the run's folder, checks it, and runs stages; raises as `check` and `run` do."""
  with processes.held([plan.folder]):
    works = check(plan, names, allow_other_versions=allow_other_versions)
    plan.folder.claim(works=works)
    run(plan, names)
