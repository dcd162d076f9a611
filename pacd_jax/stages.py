"""The four stages of a run, on functions and plain values: attack, train, certify, report.

Each does what its folder lacks and goes on where a kill left it; `check` looks at what
the folder holds before any of them starts.
"""

import json
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

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

NAMES = ("attack", "train", "certify", "report")
CLEAN = "clean"  # The row without a poison.
PACD = "pacd"  # The row whose poison is optimised, step by step.


class PacdRun(NamedTuple):
  """The attack with its data and its place in a loop."""

  attack: pacd.Attack
  attack_data: pacd.AttackData
  key: types.Key
  start: types.Array | None  # The first perturbation, `[1 or n, H, W, C]`; None: zero.
  num_steps: int
  restart_every: int
  save_every: int

  def first_state(self) -> pacd.AttackState:
    return self.attack.init(self.attack_data, self.key, self.start)


class TrainRun(NamedTuple):
  """How the victims of one row are trained."""

  trainer: train.Trainer
  keys: types.Key  # `[S]`, one for each victim.
  num_epochs: int
  save_every: int


class CertifyRun(NamedTuple):
  """How the victims are certified."""

  options: dict[str, Any]  # sigma, n0, n, alpha, batch_size of `certify`.
  indices: np.ndarray  # `[M]`: the test points, the same for all.
  key: types.Key  # Victim k uses `fold_in(key, k)`, in every row.


class Experiment(NamedTuple):
  """One run, ready to start."""

  folder: run_folder.RunFolder
  splits: types.Splits
  model: types.Model
  model_name: str
  training: str  # The victims' loss, by name.
  rows: tuple[str, ...]
  budget: dict[str, Any]  # epsilon and norm.
  target_class: int
  sigma: float
  baselines: dict[str, Callable[[], np.ndarray]]  # Row -> images before rounding.
  pacd_run: PacdRun
  train_run: TrainRun
  certify_run: CertifyRun


def check(experiment: Experiment, stages: Collection[str]) -> None:
  """Looks at everything that the stages will read; nothing is started or changed.

  Raises:
    errors.InputError: a file is damaged or another run's, or an earlier stage is missing.
  """
  for row in experiment.rows:
    if row == CLEAN:
      continue
    poison = experiment.folder.poison(row)
    if poison.exists():
      _load_poison(experiment, row)
    elif "attack" not in stages:
      raise errors.InputError(f"{poison} is missing: run --stage=attack first")
    elif row == PACD:
      with _attack_checkpoints(experiment) as checkpoints:
        checkpoints.restore(experiment.pacd_run.first_state())
  for row in experiment.rows:
    if row == CLEAN or experiment.folder.poison(row).exists():
      _check_victims(experiment, row, stages)


def _check_victims(experiment: Experiment, row: str, stages: Collection[str]) -> None:
  run = experiment.train_run
  stems = [experiment.folder.certificate(row, k) for k in range(len(run.keys))]
  certified = all([certificates.is_complete(stem) for stem in stems])
  if certified and "train" not in stages:
    return
  if not certified and "report" in stages and "certify" not in stages:
    raise errors.InputError(f"{stems[0].parent} is incomplete: run --stage=certify first")
  with _victim_checkpoints(experiment, row) as checkpoints:
    epochs = checkpoints.latest_step()
    if epochs < run.num_epochs and "train" not in stages and "certify" in stages:
      raise errors.InputError(
        f"the victims of row {row} have {epochs} of {run.num_epochs} epochs: run "
        "--stage=train first"
      )
    if not certified or epochs < run.num_epochs:
      checkpoints.restore(run.trainer.init(run.keys))


# --- attack ---------------------------------------------------------------------------


def attack(experiment: Experiment) -> None:
  """Makes the poisons that are missing: `poison/<row>.npz`."""
  train_split = experiment.splits.train
  indices = data.class_indices(train_split, experiment.target_class)
  base_images = train_split.images[indices]
  for row in experiment.rows:
    if row == CLEAN or experiment.folder.poison(row).exists():
      continue
    images = _run_pacd(experiment) if row == PACD else experiment.baselines[row]()
    poison = types.Poison(
      images=perturbation.quantize(images, base_images, **experiment.budget),
      base_images=base_images,
      labels=train_split.labels[indices],
      indices=indices,
      **_identity(experiment),
    )
    poison_file.save(experiment.folder.poison(row), poison)


def _run_pacd(experiment: Experiment) -> np.ndarray:
  run = experiment.pacd_run
  step_fn, restart_fn = jax.jit(run.attack.step), jax.jit(run.attack.restart)

  def step(state, number):
    restart = number % run.restart_every == 0
    if restart:
      state = restart_fn(state, run.attack_data, run.key)
    state, values = step_fn(state, run.attack_data, run.key)
    return state, values | {"restart": restart}

  with _attack_checkpoints(experiment) as checkpoints:
    state = loop.run(
      "attack",
      step,
      run.first_state(),
      run.num_steps,
      checkpoints=checkpoints,
      metrics_file=metrics.MetricsFile(experiment.folder.metrics),
      save_every=run.save_every,
      headline="upper",
    )
  return np.asarray(pacd.poisoned_images(run.attack_data.base_images, state.delta))


def _attack_checkpoints(experiment: Experiment) -> checkpoint.Checkpoints:
  folder = experiment.folder
  return checkpoint.Checkpoints(folder.checkpoints("attack"), folder.fingerprint)


def _identity(experiment: Experiment) -> dict[str, Any]:
  """The fields that a poison of this run carries, whatever its row."""
  return experiment.budget | dict(
    target_class=experiment.target_class,
    dataset=experiment.splits.name,
    sigma=experiment.sigma,
    checksum=data.checksum(experiment.splits.train),
  )


def _load_poison(experiment: Experiment, row: str) -> types.Poison:
  """The row's poison as saved, refused where it is another run's."""
  path = experiment.folder.poison(row)
  poison = poison_file.load(path)
  for name, expected in _identity(experiment).items():
    if getattr(poison, name) != expected:
      raise errors.InputError(
        f"{path} was made for another run ({name} is {getattr(poison, name)!r} there and "
        f"{expected!r} here): delete it and rerun --stage=attack"
      )
  return poison


# --- train ----------------------------------------------------------------------------


def train_victims(experiment: Experiment) -> None:
  """Trains the victims of every row on its poison as saved."""
  for row in experiment.rows:
    _victims(experiment, row)


def _victims(experiment: Experiment, row: str) -> types.Params:
  """Parameters of the row's victims, `[S, ...]`; trained as far as they are not."""
  run, split = experiment.train_run, _training_split(experiment, row)
  images, labels = jax.device_put((data.to_float(split.images), split.labels))
  with _victim_checkpoints(experiment, row) as checkpoints:
    state = loop.run(
      f"train/{row}",
      lambda state, epoch: run.trainer.epoch(state, images, labels, run.keys),
      run.trainer.init(run.keys),
      run.num_epochs,
      checkpoints=checkpoints,
      metrics_file=metrics.MetricsFile(experiment.folder.metrics),
      save_every=run.save_every,
      unit="epochs",
      headline="loss",
    )
  return state.params


def _training_split(experiment: Experiment, row: str) -> types.Dataset:
  if row == CLEAN:
    return experiment.splits.train
  return data.apply_poison(experiment.splits.train, _load_poison(experiment, row))


def _victim_checkpoints(experiment: Experiment, row: str) -> checkpoint.Checkpoints:
  """Checkpoints of one row's victims, bound to the data that they were trained on."""
  folder = experiment.folder
  trained_on = data.checksum(_training_split(experiment, row))
  return checkpoint.Checkpoints(
    folder.checkpoints("train", row), f"{folder.fingerprint} {trained_on}"
  )


# --- certify --------------------------------------------------------------------------


def certify_victims(experiment: Experiment) -> None:
  """Certifies every victim of every row on the same test points."""
  num_victims = len(experiment.train_run.keys)
  for row in experiment.rows:
    stems = [experiment.folder.certificate(row, k) for k in range(num_victims)]
    if all([certificates.is_complete(stem) for stem in stems]):
      continue
    params = _victims(experiment, row)
    for victim, stem in enumerate(stems):
      _certify_one(
        experiment,
        row,
        victim,
        stem,
        jax.tree.map(lambda leaf, k=victim: leaf[k], params),
      )


def _certify_one(experiment, row, victim, stem, params) -> None:
  run, test = experiment.certify_run, experiment.splits.test
  extra = {
    "accuracy": train.accuracy(experiment.model.apply, params, test),
    "model": experiment.model_name,
    "dataset": experiment.splits.name,
    "trained_on": data.checksum(_training_split(experiment, row)),
  }
  shown = None

  def on_point(done, total, result, label):
    nonlocal shown
    if shown is None:
      shown = progress.Progress(
        f"certify/{row}/seed_{victim}", total, start=done - 1, unit="points"
      )
    shown.update(done)

  certify.certify_to_files(
    experiment.model.apply,
    params,
    test.images,
    test.labels,
    run.indices,
    jax.random.fold_in(run.key, victim),
    stem,
    seed=victim,
    extra=extra,
    on_point=on_point,
    **run.options,
  )


# --- report ---------------------------------------------------------------------------


def write_report(experiment: Experiment) -> None:
  """Writes `results.json`, then the pictures and the page."""
  run_folder.write_json(experiment.folder.results, _results(experiment))
  report.write(experiment.folder.path)


def table(experiment: Experiment) -> str:
  """The table of `results.json`, as text."""
  return evaluate.table(json.loads(experiment.folder.results.read_text()))


def _results(experiment: Experiment) -> evaluate.Results:
  records = {
    row: evaluate.read_records(experiment.folder.certificate(row, 0).parent)
    for row in experiment.rows
  }
  return evaluate.results(
    records,
    dataset=experiment.splits.name,
    target_class=experiment.target_class,
    training=experiment.training,
    **experiment.budget,
  )


RUN = {
  "attack": attack,
  "train": train_victims,
  "certify": certify_victims,
  "report": write_report,
}
