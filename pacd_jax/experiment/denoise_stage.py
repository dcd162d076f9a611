"""The denoisers of a run's victims: one each, trained once the victims are.

Denoised smoothing, `certification.denoised`. `denoiser.poisons` says which of the two,
classifier and denoiser, are trained on a row's training set; the other one is trained on
the clean one, and then serves all rows that differ in the rest alone. Seeds have the same
key in every row, as victims have. The checkpoints of `checkpoints/denoise` hold the
denoisers, with the classifiers that their loss sees.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, train, types
from pacd_jax.certification import certificates, denoised
from pacd_jax.data import training_sets
from pacd_jax.defenses.transforms import denoise
from pacd_jax.experiment import victims
from pacd_jax.experiment.plan import Plan, TrainPlan
from pacd_jax.runtime import checkpoint, loop, sharding

_NAME = "denoise"  # Of the stage in metrics, messages and checkpoints.


class _Group(NamedTuple):
  """What denoisers are trained on: one for each seed."""

  row: str  # Of their training set.
  classifier_row: str  # Of the victims that their loss sees; "": it sees none.


def _group(plan: Plan, row: str) -> _Group:
  assert plan.denoiser is not None
  seen = plan.classifier_row(row) if plan.denoiser.sees_victim else ""
  return _Group(plan.denoiser_row(row), seen)


def _groups(plan: Plan) -> dict[_Group, str]:
  """Every group of denoisers, and the first row that has it."""
  found: dict[_Group, str] = {}
  for row in plan.rows:
    found.setdefault(_group(plan, row), row)
  return found


def _first(plan: Plan) -> train.TrainState:
  """All denoisers before their first epoch, with classifiers of zeros."""
  assert plan.denoiser is not None
  run = plan.denoiser.train
  return run.first(train.every_row(run.keys, len(_groups(plan)))[1])


def _checkpoints(plan: Plan) -> checkpoint.Checkpoints:
  """Their checkpoints, bound to what they and the victims that they see train on."""
  rows = [row for group in _groups(plan) for row in group if row]
  checksums = [plan.defended.checksum(row) for row in rows]
  return plan.checkpoints(_NAME, " ".join([plan.folder.fingerprint, *checksums]))


def _restored(plan: Plan) -> tuple[train.TrainState, int]:
  """The newest denoisers and their epochs; raises `errors.InputError` as `restore` does."""
  with _checkpoints(plan) as checkpoints:
    return checkpoints.restore(_first(plan))


def check_trained(plan: Plan, *, trains: bool) -> None:
  """Checks the denoisers that are there, if the data that they are bound to are.

  Args:
    plan: the run's plan.
    trains: whether those that are missing will be trained.

  Raises:
    errors.InputError: a checkpoint is damaged or of another run, or some are missing.
  """
  epochs, exists = 0, plan.folder.checkpoints(_NAME).exists()
  if exists and all(map(plan.has_training_sets, plan.rows)):
    _, epochs = _restored(plan)
  if not trains:
    _check_epochs(plan, epochs)


def _check_epochs(plan: Plan, epochs: int) -> None:
  assert plan.denoiser is not None
  total = plan.denoiser.train.num_epochs
  if epochs < total:
    raise errors.InputError(
      f"the denoisers have {epochs} of {total} epochs: run --stage=train first"
    )


def train_denoisers(plan: Plan, classifiers: types.Params) -> None:
  """Trains the denoisers of all victims, all in one program, or resumes that.

  Args:
    plan: the run's plan, which has denoisers; training sets are there.
    classifiers: the victims, `[V, ...]`, as `plan.victims` orders them.

  Raises:
    errors.InputError: a training set is smaller than a batch, or a checkpoint cannot be
      used.
    errors.NonFiniteError: a loss is not finite.
  """
  assert plan.denoiser is not None
  run, groups = plan.denoiser.train, _groups(plan)
  sets = {group.row: plan.defended.split(group.row) for group in groups}
  with errors.refusing():  # Defences may have left too few images.
    training_sets.check_batch_size(sets, run.batch_size, "denoiser.batch_size")
  first, epochs = _restored(plan)
  if not epochs:
    first = _taught(plan, first, classifiers)
  _, keys = train.every_row(run.keys, len(groups))
  places = [list(sets).index(group.row) for group in groups]
  rows = np.repeat(np.asarray(places, np.int32), len(plan.seeds))
  data = training_sets.stack(list(sets.values()))
  first, *given = sharding.replicate((first, data, rows, keys), run.mesh)

  def epoch(state, number):
    del number
    state, values = run.trainer.epoch(state, *given)
    return state, victims.by_row(list(groups.values()), len(plan.seeds), values)

  with _checkpoints(plan) as checkpoints, plan.metrics_file() as metrics_file:
    loop.run(
      _NAME,
      epoch,
      first,
      run.num_epochs,
      checkpoints=checkpoints,
      metrics_file=metrics_file,
      save_every=run.save_every,
      unit="epochs",
      headline="noise_left",
    )


def _taught(
  plan: Plan, state: train.TrainState, classifiers: types.Params
) -> train.TrainState:
  """The state with the classifiers that the loss sees, if any; trains surrogates first."""
  assert plan.denoiser is not None
  own, num_seeds = plan.denoiser, len(plan.seeds)
  if own.sees_victim:
    order = list(plan.classifier_rows)
    firsts = [num_seeds * order.index(group.classifier_row) for group in _groups(plan)]
    places = np.add.outer(firsts, np.arange(num_seeds)).reshape(-1)
    teachers = jax.tree.map(lambda leaf: leaf[places][:, None], classifiers)
  elif own.surrogates is not None:
    of_groups = [_surrogates(plan, own.surrogates, group.row) for group in _groups(plan)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *of_groups)
    teachers = jax.tree.map(lambda leaf: jnp.repeat(leaf, num_seeds, axis=0), stacked)
  else:
    return state
  return state._replace(params=state.params._replace(teachers=teachers))


def _surrogates(plan: Plan, run: TrainPlan, row: str) -> types.Params:
  """Classifiers trained on a row's set as victims are, with keys of their own."""
  keys = jax.random.clone(run.keys)
  return victims.train(run, plan.defended.split(row), keys, stage=f"surrogates/{row}")


# --- what is certified ----------------------------------------------------------------


def load(plan: Plan) -> dict[tuple[str, int], types.Params]:
  """The denoiser of every victim, by row and seed, from the last checkpoint.

  Raises:
    errors.InputError: it is damaged or of another run, or they are not trained yet.
  """
  state, epochs = _restored(plan)
  _check_epochs(plan, epochs)
  groups, own = list(_groups(plan)), state.params.denoiser

  def of(row, seed):
    number = len(plan.seeds) * groups.index(_group(plan, row)) + seed
    return jax.tree.map(lambda leaf: leaf[number], own)

  return {(row, seed): of(row, seed) for row in plan.rows for seed in plan.seeds}


def measured(plan: Plan, params: denoised.Params) -> dict[str, float]:
  """What sidecars say of one victim's two parts.

  "noise_left" is the denoiser's mean squared error over the noise's variance, on
  validation images; "classifier_accuracy" the classifier's own, over all classes, without
  a denoiser and without noise.
  """
  assert plan.denoiser is not None
  own, key = plan.denoiser, jax.random.clone(plan.denoiser.test_key)
  images = plan.splits.validation.images
  dataset, dtype = plan.certify.dataset, plan.certify.settings.dtype
  alone = train.accuracy(own.classifier.apply, params.classifier, dataset, dtype=dtype)
  left = denoise.noise_left(params.denoiser, images, key, own.settings)
  return {"noise_left": left, "classifier_accuracy": alone}


def facts(plan: Plan, records: Sequence[certificates.Record]) -> str:
  """Says in a sentence what a row's denoisers do; "" without denoisers."""
  if plan.denoiser is None:
    return ""
  left, alone = (
    100.0 * np.mean([record.sidecar[name] for record in records])
    for name in ("noise_left", "classifier_accuracy")
  )
  return (
    f"Its denoisers leave {left:.1f} % of the noise's variance in validation images; its "
    f"classifiers alone have an accuracy of {alone:.1f} %."
  )
