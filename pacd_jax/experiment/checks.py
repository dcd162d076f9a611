"""Checks a run's folder before any stage starts: what is unusable, missing or done."""

import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import jax

from pacd_jax import errors, types
from pacd_jax.certification import certificates, votes
from pacd_jax.experiment import (
  denoise_stage,
  ensemble_certificates,
  goals,
  selection,
  weight_decay,
)
from pacd_jax.experiment.plan import Plan
from pacd_jax.runtime import processes


def check(plan: Plan, stages: Collection[str]) -> None:
  """Checks everything that the stages will read; starts and changes nothing.

  Raises:
    errors.InputError: a file is damaged or of another run, or an earlier stage is missing.
  """
  for row in plan.rows:
    if plan.training_sets.is_given(row):
      with processes.agreeing():  # A host may lack the file.
        plan.training_sets.check_given(row)
        goals.check(plan, row)
    if plan.training_sets.is_there(row):
      plan.training_sets.split(row)
      plan.training_sets.attack_seconds(row)
      if plan.defended.is_there(row):
        plan.defended.split(row)
    elif "attack" not in stages:
      poison = plan.folder.poison(row)
      raise errors.InputError(f"{poison} is missing: run --stage=attack first")
    elif row == types.PACD and not plan.training_sets.is_given(row):
      _check_attack(plan)
  weight_decay.read(plan)
  incomplete = _incomplete_rows(plan)
  if plan.ensemble is not None:
    _check_votes(plan)
  if not incomplete:
    return
  if "report" in stages and "certify" not in stages:
    folder = plan.folder.certificate(incomplete[0], 0).parent
    raise errors.InputError(f"{folder} is incomplete: run --stage=certify first")
  if "train" in stages or "certify" in stages:
    with processes.agreeing():  # A host may lack the memory.
      check_networks(plan)
    _check_victims(plan, stages)
  if "certify" in stages:
    _check_memory(plan)


def _check_attack(plan: Plan) -> None:
  """Checks the files that an unfinished attack has left."""
  if plan.attack.selection is not None:
    selection.read_scores(plan)
  if plan.folder.checkpoints("attack").exists():
    with plan.attack_checkpoints() as checkpoints:
      checkpoints.restore(plan.attack.first_state())


def has_work(plan: Plan, stages: Collection[str]) -> bool:
  """Whether stages have anything to make or to resume, but for the report.

  Raises:
    errors.InputError: a certificate is damaged or another run's.
  """
  if "attack" in stages and not all(map(plan.training_sets.is_there, plan.rows)):
    return True
  return not {"train", "certify"}.isdisjoint(stages) and not is_certified(plan)


def is_certified(plan: Plan) -> bool:
  """Whether every certificate is complete, so that no victim is needed.

  Raises:
    errors.InputError: a certificate is damaged or of another run.
  """
  return not _incomplete_rows(plan)


def _incomplete_rows(plan: Plan) -> list[str]:
  """The rows that lack certificates; all existing certificates are checked."""
  incomplete = []
  for row in plan.rows:
    if not plan.has_training_sets(row) or not all(
      [_check_certificates(plan, row, seed) for seed in plan.seeds]
    ):
      incomplete.append(row)
  return incomplete


def _check_certificates(plan: Plan, row: str, seed: int) -> bool:
  """`_check_certificate`, with the certificates of what the row's attacker wants."""
  found = [_check_certificate(plan, row, seed)]
  for stem, identity in goals.targets(plan, row, seed):
    found.append(_check_files(plan, stem, identity))
  return all(found)


def _check_certificate(plan: Plan, row: str, seed: int) -> bool:
  """Whether a victim's certificates are complete; raises if they are damaged or others'."""
  if plan.ensemble is None:
    identity = plan.certificate_identity(row, seed)
    return _check_files(plan, plan.folder.certificate(row, seed), identity)
  found = [ensemble_certificates.are_against_poison(plan, row, seed)]
  for level in plan.ensemble.levels:
    identity = ensemble_certificates.identity_at(plan, row, seed, level)
    found.append(_check_files(plan, plan.folder.certificate(row, seed, level), identity))
  return all(found)


def _check_votes(plan: Plan) -> None:
  """Checks that the certificates of ensembles that are there are those of their votes."""
  for row in filter(plan.defended.is_there, plan.rows):
    for seed in plan.seeds:
      if ensemble_certificates.are_against_poison(plan, row, seed):
        ensemble_certificates.check_votes(plan, row, seed)


def _check_files(plan: Plan, stem: pathlib.Path, identity: Mapping[str, Any]) -> bool:
  if not stem.with_suffix(".json").exists() and not stem.with_suffix(".tsv").exists():
    return False
  record = certificates.read(stem, allow_partial=True)
  for name, expected in identity.items():
    of_before = name == "run" and name not in record.sidecar  # An earlier version's.
    if record.sidecar.get(name) != expected and not of_before:
      raise errors.InputError(
        f"{stem}.tsv belongs to another run ({name} differs in {stem.name}.json): delete "
        "both and rerun --stage=certify"
      )
  return len(record.idx) == len(identity["indices"]) and certificates.is_closed(stem)


def _check_victims(plan: Plan, stages: Collection[str]) -> None:
  """Checks the victims' checkpoint, if the data that it is bound to exist."""
  epochs = 0
  if plan.folder.checkpoints("train").exists() and all(
    plan.defended.is_there(row) for row in plan.classifier_rows
  ):
    with plan.victim_checkpoints() as checkpoints:
      _, epochs = checkpoints.restore(plan.first_victims())
  if "train" not in stages:
    check_epochs(plan, epochs)
  if plan.denoiser is not None:
    denoise_stage.check_trained(plan, trains="train" in stages)


def check_networks(plan: Plan, *, free: int | None = None) -> None:
  """Checks that the networks of all ensembles fit in memory, where one victim has many.

  Counted are parameters and the optimiser's moments, and on a CPU the copy that a
  checkpoint makes, too; not the activations of `train.victims_at_once` networks.

  Args:
    plan: the run's.
    free: bytes that may be used; by default those that are free on the device now.

  Raises:
    errors.InputError: they do not fit.
  """
  if plan.ensemble is None:
    return
  state = jax.eval_shape(plan.train.trainer.init, plan.victims()[1])
  on_cpu = jax.default_backend() == "cpu"  # Its devices share one memory.
  copies = plan.train.mesh.local_mesh.size + 1 if on_cpu else 1
  needed = copies * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
  free = votes.free_bytes() if free is None else free
  if needed > free:
    raise errors.InputError(
      f"{plan.ensemble.num_models} networks for each of {len(plan.seeds)} victims of "
      f"{len(plan.rows)} rows need {votes.in_gib(needed)} while they train, and "
      f"{votes.in_gib(free)} are free: lower train.ensemble.num_models, train.num_victims "
      "or the number of rows, or use a smaller network"
    )


def check_epochs(plan: Plan, epochs: int) -> None:
  """Raises `errors.InputError` unless the victims have been trained to the end."""
  if epochs < plan.train.total_epochs:
    raise errors.InputError(
      f"the victims have {epochs} of {plan.train.total_epochs} epochs: run --stage=train "
      "first"
    )


def _check_memory(plan: Plan) -> None:
  """Checks that a batch of noisy images fits in memory, if any is drawn."""
  with processes.agreeing():  # A host may lack the memory.
    plan.certify.procedure.check_memory(plan.splits.train.images.shape[1:])
