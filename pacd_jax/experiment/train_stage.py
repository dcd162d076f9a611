"""The stage that trains the victims of every row, all in one program."""

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import training_sets
from pacd_jax.experiment import checks, denoise_stage, victims, weight_decay
from pacd_jax.experiment.plan import Plan
from pacd_jax.runtime import loop, progress, sharding


def train_victims(plan: Plan) -> None:
  """Trains the victims of every row on its poison as saved, all in one program.

  The run's defences are applied to each row's training set first. Epochs of recovery, if
  any, follow on the clean training split for every row, and keep the parameters and the
  optimiser's state. Denoisers, if any, come last.
  """
  if checks.is_certified(plan):
    return
  run, (rows, keys) = plan.train, plan.victims()
  sources = [each for row in plan.rows for each in plan.sources(row)]
  for row in dict.fromkeys(sources):
    plan.defended.make(row)
  sets = {row: plan.defended.split(row) for row in plan.classifier_rows}
  clean = 0
  if run.recovery_epochs:  # The clean split is trusted: no defence.
    clean = _place_of_clean(plan, sets)
  with errors.refusing():  # Defences may have left too few images.
    training_sets.check_batch_size(sets, run.batch_size)
  data = training_sets.stack(list(sets.values()))
  if plan.ensemble is not None:
    data = plan.ensemble.data(list(sets.values()), data)
    if remark := plan.ensemble.remark(data, run.batch_size, plan.splits.num_classes):
      progress.note(f"train: {remark}")
  decays = None if plan.decay is None else weight_decay.choose(plan, plan.decay)
  first = sharding.hold_rows(plan.first_victims(decays, on_features=True), run.mesh)
  given = sharding.replicate((data, rows, keys, np.full_like(rows, clean)), run.mesh)

  def recovers(number):
    return number >= run.num_epochs

  def epoch(state, number):
    if plan.stopping is None:
      state, values = run.trainer.epoch(state, *given)
    else:
      state, values = plan.stopping.epoch(run.trainer.epoch, state, number, given)
    which = {"recovery": recovers(number)} if run.recovery_epochs else {}
    return state, victims.by_row(plan.classifier_rows, len(plan.seeds), values) | which

  with plan.victim_checkpoints() as checkpoints, plan.metrics_file() as metrics_file:
    state = loop.run(
      "train",
      epoch,
      first,
      run.total_epochs,
      checkpoints=checkpoints,
      metrics_file=metrics_file,
      save_every=run.save_every,
      unit="epochs",
      headline="loss",
      phase=lambda number: "recovery on clean data" if recovers(number) else "",
    )
  if plan.denoiser is not None:
    denoise_stage.train_denoisers(plan, state.params)


def _place_of_clean(plan: Plan, sets: dict[str, types.TrainingSet]) -> int:
  """The place of the clean training split among the sets; adds it if it is missing."""
  name, clean = types.CLEAN, plan.training_sets.split(types.CLEAN)
  if sets.get(name) is not clean:
    name = name if name not in sets else "clean, undefended"
    sets[name] = clean
  return list(sets).index(name)
