"""One victim by itself, trained as the run's are: for defences and for the selection."""

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import training_sets
from pacd_jax.experiment.plan import TrainPlan
from pacd_jax.runtime import metrics, progress, sharding


def train(
  run: TrainPlan,
  training_set: types.TrainingSet,
  key: types.Key,
  *,
  stage: str,
  shows: bool = True,
) -> types.Params:
  """The parameters after the last epoch; nothing is saved.

  Args:
    run: how; without epochs of recovery.
    training_set: at least a batch.
    key: consumed.
    stage: what progress and errors call it.
    shows: progress, an epoch at a time.

  Raises:
    errors.InputError: the set has less than a batch.
    errors.NonFiniteError: its loss is not finite.
  """
  if len(training_set.present) < run.batch_size:
    raise errors.InputError(
      f"{stage} is to train on {len(training_set.present)} images, but config field "
      f"train.batch_size is {run.batch_size}: use a smaller one"
    )
  data, row, keys = sharding.replicate(
    (training_sets.stack([training_set]), np.zeros(1, np.int32), key[None]), run.mesh
  )
  state = sharding.replicate(run.trainer.init(keys), run.mesh)
  shown = progress.Progress(stage, run.num_epochs, unit="epochs") if shows else None
  for number in range(1, run.num_epochs + 1):
    state, values = run.trainer.epoch(state, data, row, keys)
    found = {name: float(value[0]) for name, value in values.items()}
    metrics.check_finite(stage, number, found)
    if shown is not None:
      shown.update(number, f"loss {found['loss']:.4g}")
  return jax.tree.map(lambda leaf: leaf[0], state.params)
