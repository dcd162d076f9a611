"""Trains victims on one training set, as a run's are trained; saves nothing.

Used by defences that need a victim, by the choice among candidates, and by `library`.
"""

from collections.abc import Sequence

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import training_sets
from pacd_jax.experiment.plan import TrainPlan
from pacd_jax.runtime import metrics, progress, sharding


def train_one(
  run: TrainPlan,
  training_set: types.TrainingSet,
  key: types.Key,
  *,
  stage: str,
  shows: bool = True,
) -> types.Params:
  """Trains one victim as `train` does; returns its parameters; the key is consumed."""
  params = train(run, training_set, key[None], stage=stage, shows=shows)
  return jax.tree.map(lambda leaf: leaf[0], params)


def train(
  run: TrainPlan,
  training_set: types.TrainingSet,
  keys: types.Key,
  *,
  stage: str,
  shows: bool = True,
) -> types.Params:
  """Trains S victims; returns their last parameters on the host, leaves `[S, ...]`.

  Args:
    run: how they are trained; without epochs of recovery.
    training_set: at least a batch of images.
    keys: `[S]`, one for each victim; consumed.
    stage: what progress and errors call it.
    shows: whether progress is shown, an epoch at a time.

  Raises:
    errors.InputError: the set is smaller than a batch.
    errors.NonFiniteError: a loss is not finite.
  """
  if len(training_set.present) < run.batch_size:
    raise errors.InputError(
      f"{stage} is to train on {len(training_set.present)} images, but config field "
      f"train.batch_size is {run.batch_size}: use a smaller one"
    )
  state = sharding.hold_rows(run.trainer.init(keys), run.mesh)
  data, rows, keys = sharding.replicate(
    (training_sets.stack([training_set]), np.zeros(len(keys), np.int32), keys), run.mesh
  )
  shown = progress.Progress(stage, run.num_epochs, unit="epochs") if shows else None
  for number in range(1, run.num_epochs + 1):
    state, values = run.trainer.epoch(state, data, rows, keys)
    found = {name: np.asarray(value) for name, value in values.items()}
    metrics.check_finite(stage, number, found)
    if shown is not None:
      shown.update(number, f"loss {found['loss'].mean():.4g}")
  return jax.tree.map(np.asarray, state.params)


def by_row(
  rows: Sequence[str], num_seeds: int, values: types.Aux
) -> dict[str, types.Array]:
  """Each row's metrics `[S]` by seed, so that an error names one; then means over all."""
  named = {
    f"{row}/{name}": value.reshape(len(rows), num_seeds, -1)[number].mean(-1)
    for number, row in enumerate(rows)
    for name, value in values.items()
  }
  return named | {name: value.mean() for name, value in values.items()}
