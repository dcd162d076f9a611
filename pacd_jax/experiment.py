"""Turns a config into functions and runs the stages: the only file that knows ConfigDict.

`choices.py` has the functions behind the names; what lies below takes functions and plain
keyword arguments.
"""

import functools
import json
import os
import pathlib
from collections.abc import Callable, Sequence

import jax
import ml_collections
import numpy as np
import optax

from pacd_jax import (
  choices,
  data,
  errors,
  hypergradient,
  models,
  plan,
  poison_file,
  run_folder,
  settings,
  stages,
  train,
  transfer,
  types,
)
from pacd_jax.attacks import baselines, pacd, problem

# One random stream for each purpose, folded from the run's seed.
_STREAMS = ("pacd", "watermark", "train", "certify")


def run(
  config: ml_collections.ConfigDict,
  workdir: str | os.PathLike,
  stage_names: Sequence[str] = stages.NAMES,
) -> str | None:
  """Runs the stages that are not done, in order; everything is checked before the first.

  Args:
    config: as `configs/*.py` make it.
    workdir: the run's folder (see the README).
    stage_names: some of `stages.NAMES`.

  A config with `victims` is a transfer: several runs, one for each kind of victim.

  Returns:
    The table of results where "report" is among the stages.

  Raises:
    errors.InputError: something given cannot be used; nothing was started.
    errors.NonFiniteError: a loss or a gradient is not finite.
  """
  if "victims" in config:
    return transfer.run(build_transfer(config, workdir), stage_names)
  run_plan = build(config, workdir)
  with run_plan.folder:
    stages.check(run_plan, stage_names)
    run_plan.folder.claim()
    for name in stage_names:
      stages.RUN[name](run_plan)
    return stages.table(run_plan) if "report" in stage_names else None


def build(
  config: ml_collections.ConfigDict,
  workdir: str | os.PathLike,
  load_data: Callable[..., types.Splits] = data.load,
) -> plan.Plan:
  """Checks the config and makes data, model and functions of it; writes nothing.

  Args:
    config: of one run.
    workdir: its folder.
    load_data: called as `data.load`.

  Raises:
    errors.InputError: a field cannot be used, alone or with the data.
  """
  resolved = config.to_dict()
  settings.check(resolved)
  splits = load_data(
    config.data.name,
    seed=config.seed,
    data_dir=config.data.data_dir,
    path=config.data.path,
    num_train=config.data.num_train,
  )
  _check_sizes(config, splits)
  image_shape = splits.train.images.shape[1:]
  model = models.make(
    config.model.name,
    num_classes=splits.num_classes,
    image_shape=image_shape,
    norm=config.model.norm,
  )
  root = jax.random.key(config.seed)
  keys = {name: jax.random.fold_in(root, i) for i, name in enumerate(_STREAMS)}
  return plan.Plan(
    folder=run_folder.RunFolder(workdir, resolved),
    splits=splits,
    model=model,
    model_name=_model_name(config.model),
    training=config.train.loss,
    rows=tuple(config.rows),
    budget=_budget(config),
    target_class=config.data.target_class,
    sigma=float(config.sigma),
    baselines=_baselines(config, splits, keys["watermark"]),
    poisons={
      row: poison_file.find(config.poisons[row])
      for row in config.rows
      if row not in settings.ROWS
    },
    attack=_attack_plan(config, splits, model, keys["pacd"]),
    train=_train_plan(config, splits, model, keys["train"]),
    certify=_certify_plan(config, splits, keys["certify"]),
  )


def build_transfer(
  config: ml_collections.ConfigDict, workdir: str | os.PathLike
) -> transfer.TransferPlan:
  """The same for a transfer: `victims`, a config for each kind, and `poisons` for all.

  Raises:
    errors.InputError: a field cannot be used, or there is no victim or no poison.
  """
  for name in config:
    if name not in ("victims", "poisons", "data"):
      raise errors.InputError(
        f"config field {name} is unknown: a transfer has victims, poisons and data.data_dir"
      )
  poisons = {name: path for name, path in config.poisons.items() if path}
  for name in poisons:
    settings.check_row_name("poisons", name)
  if not poisons or not config.victims:
    raise errors.InputError(
      "a transfer needs victims and poisons: set config.poisons.yours to the file of a "
      "poison, or to the folder of a run"
    )
  victims, load = {}, functools.cache(data.load)  # Most often the same for all.
  for name, of_victim in config.victims.items():
    settings.check_row_name("victims", name)
    of_victim = of_victim.copy_and_resolve_references()
    with of_victim.unlocked():
      of_victim.rows, of_victim.poisons = ("clean", *poisons), poisons
      of_victim.data.data_dir = config.data.data_dir
    with transfer.naming(name):
      victims[name] = build(of_victim, pathlib.Path(workdir, name), load)
  folder = run_folder.RunFolder(workdir, config.to_dict())
  return transfer.TransferPlan(folder, victims)


def load(workdir: str | os.PathLike) -> plan.Plan:
  """The plan of a run's folder, from its `config.json`; writes nothing.

  Raises:
    errors.InputError: the folder holds no run, or one of another version's fields.
  """
  path = pathlib.Path(workdir) / "config.json"
  try:
    settings_there = json.loads(path.read_text())
  except (OSError, ValueError):
    settings_there = None
  if not isinstance(settings_there, dict):
    raise errors.InputError(f"{path} is no run's config: give the folder of a run")
  return build(ml_collections.ConfigDict(settings_there), workdir)


def _check_sizes(config: ml_collections.ConfigDict, splits: types.Splits) -> None:
  target = config.data.target_class
  num_train = len(splits.train.labels)
  num_target = len(data.class_indices(splits.train, target))
  for name, size, available in (
    ("attack.clean_batch", config.attack.clean_batch, num_train - num_target),
    ("attack.poison_batch", config.attack.poison_batch, num_target),
    (
      "attack.val_batch",
      config.attack.val_batch,
      len(data.class_indices(splits.validation, target)),
    ),
    ("train.batch_size", config.train.batch_size, num_train),
    (
      "certify.num_points",
      config.certify.num_points,
      len(data.class_indices(splits.test, target)),
    ),
  ):
    if size > available:
      raise errors.InputError(
        f"config field {name} is {size}, but {splits.name} has {available} images for it: "
        f"use at most {available}"
      )


def _budget(config: ml_collections.ConfigDict) -> dict:
  return {"epsilon": float(config.attack.epsilon), "norm": config.attack.norm}


def _baselines(config, splits: types.Splits, key: types.Key) -> dict:
  target, budget = config.data.target_class, _budget(config)
  return {
    "watermark": lambda: baselines.watermark(
      splits.train, target, key, opacity=config.watermark.opacity, **budget
    ),
    "classwise": lambda: baselines.classwise(splits.train, target, **budget),
  }


def _model_name(of_model: ml_collections.ConfigDict) -> str:
  return f"{of_model.name} ({of_model.norm})" if of_model.norm else of_model.name


_PACD_OPTIONS = (
  "clean_batch",
  "poison_batch",
  "val_batch",
  "noise",
  "lower_steps",
  "warmup_steps",
  "num_shared_steps",
  "momentum",
)


def _attack_plan(config, splits: types.Splits, model: types.Model, key: types.Key):
  of_attack, target = config.attack, config.data.target_class
  options = of_attack.to_dict()
  approx_grad = functools.partial(
    hypergradient.approx_grad,
    curvature=choices.CURVATURES[of_attack.curvature],
    solve=choices.solver(options),
  )
  schedule = choices.STEP_SCHEDULES[of_attack.step_schedule]
  attack_settings = problem.Settings(
    model=model,
    loss=choices.LOSSES[of_attack.loss](model.apply, config.sigma, options),
    hypergradient=approx_grad,
    optimizer=optax.adam(of_attack.learning_rate),
    objective=choices.OBJECTIVES[of_attack.objective](model.apply, config.sigma, options),
    step_size=schedule(of_attack.step_size, of_attack.num_steps),
    augment=choices.AUGMENTS[config.data.augment],
    adversary_warmup=of_attack.adversary.warmup,
    **{name: of_attack[name] for name in _PACD_OPTIONS},
    **_budget(config),
  )
  start = None
  if of_attack.start == "classwise":
    start = baselines.classwise_shift(splits.train, target, **_budget(config))
  return plan.AttackPlan(
    pacd.make(attack_settings),
    functools.cache(lambda: problem.attack_data(splits, target)),
    key,
    start,
    num_steps=of_attack.num_steps,
    restart_every=of_attack.restart_every,
    save_every=of_attack.save_every,
    uses_sigma=of_attack.objective == "acr" or of_attack.loss in choices.NOISY,
  )


def _train_plan(config, splits: types.Splits, model: types.Model, key: types.Key):
  of_train = config.train
  num_steps = of_train.num_epochs * (len(splits.train.labels) // of_train.batch_size)
  schedule = choices.RATE_SCHEDULES[of_train.schedule](of_train.learning_rate, num_steps)
  trainer = train.make(
    model,
    choices.LOSSES[of_train.loss](model.apply, config.sigma, of_train.to_dict()),
    optax.adam(schedule),
    image_shape=splits.train.images.shape[1:],
    batch_size=of_train.batch_size,
    victims_at_once=of_train.victims_at_once,
    augment=choices.AUGMENTS[config.data.augment],
    noise_choice=of_train.noise,
    adversary_warmup=of_train.adversary.warmup,
  )
  return plan.TrainPlan(
    trainer,
    train.victim_keys(key, of_train.num_victims),
    num_epochs=of_train.num_epochs,
    save_every=of_train.save_every,
  )


def _certify_plan(config, splits: types.Splits, key: types.Key) -> plan.CertifyPlan:
  dataset = {"test": splits.test, "validation": splits.validation}[config.certify.split]
  indices = data.class_indices(dataset, config.data.target_class)
  if config.certify.num_points:
    chosen = np.random.default_rng(config.seed).choice(
      indices, config.certify.num_points, replace=False
    )
    indices = np.sort(chosen)
  options = config.certify.to_dict() | {"sigma": float(config.sigma)}
  del options["num_points"], options["split"]
  return plan.CertifyPlan(config.certify.split, dataset, options, indices, key)
