"""Weight decay that each row's victims choose on their own training set, poisoned or not.

With its strength tuned again on the poisoned data, L2 regularisation dampens poisoning
(Carnerero-Cano et al., 2020, https://arxiv.org/abs/2003.00040); a fixed one would be too
pessimistic. It is chosen by 5-fold cross-validation, as in Koh, Steinhardt and Liang
(2018), by the accuracy of the training loss, under its noise, on the fold that is left out.
No trusted image is used. `weight_decay.json` holds the choices, so that they are resumable.
"""

from typing import Any

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import arrays, training_sets
from pacd_jax.experiment.plan import DecayPlan, Plan
from pacd_jax.runtime import loop, run_folder, sharding, stamp

NUM_FOLDS = 5
_BATCH = 1000  # Images that are classified at a time.
Choices = dict[str, dict[str, Any]]  # Row -> its record in `weight_decay.json`.


def choose(plan: Plan, decay: DecayPlan) -> list[float]:
  """Each row's weight decay, by `classifier_rows`; chooses those that are missing.

  Raises:
    errors.RefusedError: a row has too few images.
    errors.InputError: weight_decay.json is damaged.
    errors.NonFiniteError: a loss is not finite.
  """
  found = read(plan)
  for row in plan.classifier_rows:
    checksum = plan.defended.checksum(row)
    if found.get(row, {}).get("trained_on") != checksum:
      accuracies = _accuracies(plan, decay, row)
      best = int(np.mean(accuracies, axis=1).argmax())  # The first, of equals.
      found[row] = {
        "trained_on": checksum,
        "choices": list(decay.choices),
        "accuracies": np.asarray(accuracies).tolist(),
        "weight_decay": decay.choices[best],
      }
      run_folder.write_json(
        plan.folder.weight_decay,
        {"stamp": stamp.make(), "run": plan.folder.fingerprint, "rows": found},
      )
  return [found[row]["weight_decay"] for row in plan.classifier_rows]


def read(plan: Plan) -> Choices:
  """Reads `weight_decay.json`, by rows; empty where there is none.

  Raises:
    errors.InputError: the file is damaged, or of another run.
  """
  path = plan.folder.weight_decay
  if plan.decay is None or not path.exists():
    return {}
  there = run_folder.read_json(path)
  if there.get("run") != plan.folder.fingerprint:
    raise errors.InputError(f"{path} is of another run: delete it and run again")
  rows, choices = there.get("rows"), plan.decay.choices
  is_whole = isinstance(rows, dict) and all(
    isinstance(record, dict)
    and record.get("weight_decay") in choices
    and record.get("choices") == list(choices)
    and _is_table(record.get("accuracies"), len(choices))
    for record in rows.values()
  )
  if not is_whole:
    raise errors.InputError(f"{path} is damaged: delete it and run again")
  return rows


def _is_table(accuracies: object, num_choices: int) -> bool:
  """Whether there is an accuracy of each fold for each choice."""
  return (
    isinstance(accuracies, list)
    and len(accuracies) == num_choices
    and all(isinstance(of_one, list) and len(of_one) == NUM_FOLDS for of_one in accuracies)
    and all(isinstance(one, float) for of_one in accuracies for one in of_one)
  )


def facts(plan: Plan, row: str) -> str:
  """Says in a sentence what the row has chosen; "" if that is not known."""
  record = read(plan).get(row)
  if record is None:
    return ""
  means = np.mean(record["accuracies"], axis=1)
  others = ", ".join(
    f"{decay:g} ({100 * mean:.1f} %)"
    for decay, mean in zip(record["choices"], means, strict=True)
  )
  return (
    f"Its weight decay is {record['weight_decay']:g}, chosen on its own training set by "
    f"the accuracy in {NUM_FOLDS}-fold cross-validation: {others}."
  )


def folds(
  training_set: types.TrainingSet, seed: int
) -> tuple[list[types.TrainingSet], list[np.ndarray]]:
  """Cuts a training set into five folds at random.

  Returns:
    Of each fold, the set without it, and its positions in rising order.
  """
  order = np.random.default_rng(seed).permutation(training_set.present)
  held = [np.sort(order[fold::NUM_FOLDS]) for fold in range(NUM_FOLDS)]
  rest = [np.setdiff1d(training_set.present, each) for each in held]
  return [training_sets.keep(training_set, each) for each in rest], held


def _accuracies(plan: Plan, decay: DecayPlan, row: str) -> np.ndarray:
  """The accuracy on each fold of victims trained without it: `[choices, folds]`."""
  run, whole = decay.train, plan.defended.split(row)
  sets, held = folds(whole, plan.config.seed)
  named = {f"{row}, without a fold": each for each in sets}
  with errors.refusing():
    training_sets.check_batch_size(named, run.batch_size)
  num_choices = len(decay.choices)
  rows = np.tile(np.arange(NUM_FOLDS, dtype=np.int32), num_choices)
  keys = jax.random.clone(run.keys)[rows]  # Choices differ in their decay alone.
  first = run.first(keys, np.repeat(decay.choices, NUM_FOLDS))
  first = sharding.hold_rows(first, run.mesh)
  given = sharding.replicate(
    (training_sets.stack(sets), rows, jax.random.clone(keys)), run.mesh
  )
  stage = f"weight_decay/{row}"
  fingerprint = f"{plan.folder.fingerprint} {plan.defended.checksum(row)}"
  with plan.checkpoints(stage, fingerprint) as checkpoints, plan.metrics_file() as log:
    state = loop.run(
      stage,
      lambda state, number: run.trainer.epoch(state, *given),
      first,
      run.num_epochs,
      checkpoints=checkpoints,
      metrics_file=log,
      save_every=run.save_every,
      unit="epochs",
      headline="loss",
    )
  found = [
    _accuracy(decay, jax.tree.map(lambda leaf, v=v: leaf[v], state.params), whole, held[f])
    for v, f in enumerate(rows)
  ]
  return np.reshape(found, (num_choices, NUM_FOLDS))


def _accuracy(
  decay: DecayPlan, params: types.Params, whole: types.TrainingSet, positions: np.ndarray
) -> float:
  """The training loss's accuracy on images of a set, in [0, 1]."""
  num_right = 0.0
  for start in range(0, len(positions), _BATCH):
    batch = positions[start : start + _BATCH]
    key = jax.random.fold_in(decay.key, start)
    images, labels = arrays.to_float(whole.images[batch]), whole.labels[batch]
    num_right += len(batch) * float(decay.accuracy(params, images, labels, key))
  return num_right / len(positions)
