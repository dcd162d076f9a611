"""The four stages of a run, on functions and plain values: attack, train, certify, report.

Each does what its folder lacks and goes on where a kill left it; `check` looks at what
the folder holds before any of them starts.
"""

import json
import pathlib
from collections.abc import Collection
from typing import Any

import jax
import numpy as np

from pacd_jax import (
  certificates,
  certify,
  checkpoint,
  data,
  errors,
  evaluate,
  loop,
  metrics,
  perturbation,
  poison_file,
  progress,
  report,
  run_folder,
  train,
  types,
)
from pacd_jax.attacks import pacd
from pacd_jax.plan import Plan

NAMES = ("attack", "train", "certify", "report")
CLEAN = "clean"  # The row without a poison.
PACD = "pacd"  # The row whose poison is optimised, step by step.


def check(plan: Plan, stages: Collection[str]) -> None:
  """Looks at everything that the stages will read; nothing is started or changed.

  Raises:
    errors.InputError: a file is damaged or another run's, or an earlier stage is missing.
  """
  for row in plan.rows:
    if row == CLEAN:
      continue
    poison = plan.folder.poison(row)
    if poison.exists():
      _load_poison(plan, row)
    elif "attack" not in stages:
      raise errors.InputError(f"{poison} is missing: run --stage=attack first")
    elif row == PACD and plan.folder.checkpoints("attack").exists():
      with _attack_checkpoints(plan) as checkpoints:
        checkpoints.restore(plan.attack.first_state())
  for row in plan.rows:
    if row == CLEAN or plan.folder.poison(row).exists():
      _check_victims(plan, row, stages)


def _check_victims(plan: Plan, row: str, stages: Collection[str]) -> None:
  run = plan.train
  stems = [plan.folder.certificate(row, k) for k in range(len(run.keys))]
  certified = all([_check_certificate(plan, row, k, stems[k]) for k in range(len(stems))])
  if certified and "train" not in stages:
    return
  if not certified and "report" in stages and "certify" not in stages:
    raise errors.InputError(f"{stems[0].parent} is incomplete: run --stage=certify first")
  epochs = 0
  if plan.folder.checkpoints("train", row).exists():
    with _victim_checkpoints(plan, row) as checkpoints:
      epochs = checkpoints.latest_step()
      if not certified or epochs < run.num_epochs:
        checkpoints.restore(run.trainer.init(run.keys))
  if epochs < run.num_epochs and "train" not in stages and "certify" in stages:
    raise errors.InputError(
      f"the victims of row {row} have {epochs} of {run.num_epochs} epochs: run "
      "--stage=train first"
    )


def _check_certificate(plan: Plan, row: str, victim: int, stem: pathlib.Path) -> bool:
  """Whether it is complete; refused where it is damaged or another run's."""
  if not stem.with_suffix(".json").exists() and not stem.with_suffix(".tsv").exists():
    return False
  record = certificates.read(stem, allow_partial=True)
  for name, expected in _certificate_identity(plan, row, victim).items():
    if record.sidecar.get(name) != expected:
      raise errors.InputError(
        f"{stem}.tsv belongs to another run ({name} differs in {stem.name}.json): delete "
        "both and rerun --stage=certify"
      )
  return len(record.idx) == len(plan.certify.indices)


# --- attack ---------------------------------------------------------------------------


def attack(plan: Plan) -> None:
  """Makes the poisons that are missing: `poison/<row>.npz`."""
  train_split = plan.splits.train
  indices = data.class_indices(train_split, plan.target_class)
  base_images = train_split.images[indices]
  for row in plan.rows:
    if row == CLEAN or plan.folder.poison(row).exists():
      continue
    images = _run_pacd(plan) if row == PACD else plan.baselines[row]()
    poison = types.Poison(
      images=perturbation.quantize(images, base_images, **plan.budget),
      base_images=base_images,
      labels=train_split.labels[indices],
      indices=indices,
      **_identity(plan),
    )
    poison_file.save(plan.folder.poison(row), poison)


def _run_pacd(plan: Plan) -> np.ndarray:
  run = plan.attack
  step_fn, restart_fn = jax.jit(run.attack.step), jax.jit(run.attack.restart)

  def step(state, number):
    restart = number % run.restart_every == 0
    if restart:
      state = restart_fn(state, run.attack_data, run.key)
    state, values = step_fn(state, run.attack_data, run.key)
    return state, values | {"restart": restart}

  with _attack_checkpoints(plan) as checkpoints:
    state = loop.run(
      "attack",
      step,
      run.first_state(),
      run.num_steps,
      checkpoints=checkpoints,
      metrics_file=metrics.MetricsFile(plan.folder.metrics),
      save_every=run.save_every,
      headline="upper",
    )
  return np.asarray(pacd.poisoned_images(run.attack_data.base_images, state.delta))


def _attack_checkpoints(plan: Plan) -> checkpoint.Checkpoints:
  folder = plan.folder
  return checkpoint.Checkpoints(folder.checkpoints("attack"), folder.fingerprint)


def _identity(plan: Plan) -> dict[str, Any]:
  """The fields that a poison of this run carries, whatever its row."""
  return plan.budget | dict(
    target_class=plan.target_class,
    dataset=plan.splits.name,
    sigma=plan.sigma,
    checksum=data.checksum(plan.splits.train),
  )


def _load_poison(plan: Plan, row: str) -> types.Poison:
  """The row's poison as saved, refused where it is another run's."""
  path = plan.folder.poison(row)
  poison = poison_file.load(path)
  for name, expected in _identity(plan).items():
    if getattr(poison, name) != expected:
      raise errors.InputError(
        f"{path} was made for another run ({name} is {getattr(poison, name)!r} there and "
        f"{expected!r} here): delete it and rerun --stage=attack"
      )
  return poison


# --- train ----------------------------------------------------------------------------


def train_victims(plan: Plan) -> None:
  """Trains the victims of every row on its poison as saved."""
  for row in plan.rows:
    _victims(plan, row)


def _victims(plan: Plan, row: str) -> types.Params:
  """Parameters of the row's victims, `[S, ...]`; trained as far as they are not."""
  run, split = plan.train, _training_split(plan, row)
  images, labels = jax.device_put((data.to_float(split.images), split.labels))
  with _victim_checkpoints(plan, row) as checkpoints:
    state = loop.run(
      f"train/{row}",
      lambda state, epoch: run.trainer.epoch(state, images, labels, run.keys),
      run.trainer.init(run.keys),
      run.num_epochs,
      checkpoints=checkpoints,
      metrics_file=metrics.MetricsFile(plan.folder.metrics),
      save_every=run.save_every,
      unit="epochs",
      headline="loss",
    )
  return state.params


def _training_split(plan: Plan, row: str) -> types.Dataset:
  if row == CLEAN:
    return plan.splits.train
  return data.apply_poison(plan.splits.train, _load_poison(plan, row))


def _victim_checkpoints(plan: Plan, row: str) -> checkpoint.Checkpoints:
  """Checkpoints of one row's victims, bound to the data that they were trained on."""
  folder = plan.folder
  trained_on = data.checksum(_training_split(plan, row))
  return checkpoint.Checkpoints(
    folder.checkpoints("train", row), f"{folder.fingerprint} {trained_on}"
  )


# --- certify --------------------------------------------------------------------------


def certify_victims(plan: Plan) -> None:
  """Certifies every victim of every row on the same test points."""
  num_victims = len(plan.train.keys)
  for row in plan.rows:
    stems = [plan.folder.certificate(row, k) for k in range(num_victims)]
    if all([certificates.is_complete(stem) for stem in stems]):
      continue
    params = _victims(plan, row)
    for victim, stem in enumerate(stems):
      of_victim = jax.tree.map(lambda leaf, k=victim: leaf[k], params)
      _certify_one(plan, row, victim, stem, of_victim)


def _certificate_identity(plan: Plan, row: str, victim: int) -> dict[str, Any]:
  """The fields that a sidecar of this run carries, apart from what is measured."""
  return plan.certify.options | {
    "seed": victim,
    "indices": plan.certify.indices.tolist(),
    "key": jax.random.key_data(_certify_key(plan, victim)).tolist(),
    "model": plan.model_name,
    "dataset": plan.splits.name,
    "split": plan.certify.split,
    "trained_on": data.checksum(_training_split(plan, row)),
  }


def _certify_key(plan: Plan, victim: int) -> types.Key:
  return jax.random.fold_in(plan.certify.key, victim)


def _certify_one(
  plan: Plan, row: str, victim: int, stem: pathlib.Path, params: types.Params
) -> None:
  dataset = plan.certify.dataset
  identity = _certificate_identity(plan, row, victim)
  extra = {name: identity[name] for name in ("model", "dataset", "split", "trained_on")}
  extra["accuracy"] = train.accuracy(plan.model.apply, params, dataset)
  shown = None

  def on_point(done, total, result, label):
    nonlocal shown
    if shown is None:
      name = f"certify/{row}/seed_{victim}"
      shown = progress.Progress(name, total, start=done - 1, unit="points")
    shown.update(done)

  certify.certify_to_files(
    plan.model.apply,
    params,
    dataset.images,
    dataset.labels,
    plan.certify.indices,
    _certify_key(plan, victim),
    stem,
    seed=victim,
    extra=extra,
    on_point=on_point,
    **plan.certify.options,
  )


# --- report ---------------------------------------------------------------------------


def write_report(plan: Plan) -> None:
  """Writes `results.json`, then the pictures and the page."""
  run_folder.write_json(plan.folder.results, _results(plan))
  report.write(plan.folder.path)


def table(plan: Plan) -> str:
  """The table of `results.json`, as text."""
  return evaluate.table(json.loads(plan.folder.results.read_text()))


def _results(plan: Plan) -> evaluate.Results:
  records = {
    row: evaluate.read_records(plan.folder.certificate(row, 0).parent) for row in plan.rows
  }
  return evaluate.results(
    records,
    dataset=plan.splits.name,
    target_class=plan.target_class,
    training=plan.training,
    **plan.budget,
  )


RUN = {
  "attack": attack,
  "train": train_victims,
  "certify": certify_victims,
  "report": write_report,
}
