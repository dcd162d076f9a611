"""The parts of a run's plan, each made of the config's values as plain nested dictionaries.

`experiment.build` checks the values before and puts the parts together.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import optax

from pacd_jax import choices, data, errors, models, plan, train, types
from pacd_jax.attacks import baselines, pacd, problem

# Fields of the group `attack` that `problem.Settings` has by the same name.
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


def check_sizes(config: dict[str, Any], splits: types.Splits) -> None:
  """Raises `errors.InputError` if a batch is larger than what it is drawn from."""
  target = config["data"]["target_class"]
  num_train = len(splits.train.labels)
  num_target = len(data.class_indices(splits.train, target))
  for name, available in {
    "attack.clean_batch": num_train - num_target,
    "attack.poison_batch": num_target,
    "attack.val_batch": len(data.class_indices(splits.validation, target)),
    "train.batch_size": num_train,
    "certify.num_points": len(data.class_indices(splits.test, target)),
  }.items():
    group, field = name.split(".")
    size = config[group][field]
    if size > available:
      raise errors.InputError(
        f"config field {name} is {size}, but {splits.name} has {available} images for it: "
        f"use at most {available}"
      )


def model(config: dict[str, Any], splits: types.Splits) -> tuple[types.Model, str]:
  """The architecture of the surrogate and of the victims, and its name in tables."""
  name, norm = config["model"]["name"], config["model"]["norm"]
  made = models.make(
    name,
    num_classes=splits.num_classes,
    image_shape=splits.train.images.shape[1:],
    norm=norm,
  )
  return made, f"{name} ({norm})" if norm else name


def budget(config: dict[str, Any]) -> dict[str, Any]:
  """`epsilon` and `norm` of every poison that the run makes."""
  return {"epsilon": float(config["attack"]["epsilon"]), "norm": config["attack"]["norm"]}


def baseline_attacks(
  config: dict[str, Any], splits: types.Splits, key: types.Key
) -> dict[str, Callable[[], np.ndarray]]:
  """Row -> the class's images before rounding."""
  target = config["data"]["target_class"]
  return {
    "watermark": lambda: baselines.watermark(
      splits.train, target, key, opacity=config["watermark"]["opacity"], **budget(config)
    ),
    "classwise": lambda: baselines.classwise(splits.train, target, **budget(config)),
  }


def attack(
  config: dict[str, Any], splits: types.Splits, model: types.Model, key: types.Key
) -> plan.AttackPlan:
  """PACD as the config has it; nothing is put on a device yet."""
  options, target = config["attack"], config["data"]["target_class"]
  loss = choices.LOSSES[options["loss"]]
  objective = choices.OBJECTIVES[options["objective"]]
  schedule = choices.STEP_SCHEDULES[options["step_schedule"]]
  settings = problem.Settings(
    model=model,
    loss=loss(model.apply, config["sigma"], options),
    hypergradient=choices.make_hypergradient(options),
    optimizer=optax.adam(options["learning_rate"]),
    objective=objective(model.apply, config["sigma"], options),
    step_size=schedule(options["step_size"], options["num_steps"]),
    augment=choices.AUGMENTS[config["data"]["augment"]],
    adversary_warmup=options["adversary"]["warmup"],
    **{name: options[name] for name in _PACD_OPTIONS},
    **budget(config),
  )
  starts = {
    "clean": lambda: None,
    "classwise": lambda: baselines.classwise_shift(splits.train, target, **budget(config)),
  }
  return plan.AttackPlan(
    pacd.make(settings),
    functools.cache(lambda: problem.attack_data(splits, target)),
    key,
    starts[options["start"]],
    num_steps=options["num_steps"],
    restart_every=options["restart_every"],
    save_every=options["save_every"],
    uses_sigma=options["objective"] == "acr" or options["loss"] in choices.NOISY,
  )


def training(
  config: dict[str, Any], splits: types.Splits, model: types.Model, key: types.Key
) -> plan.TrainPlan:
  """How the victims are trained."""
  options, num_images = config["train"], len(splits.train.labels)
  num_steps = options["num_epochs"] * (num_images // options["batch_size"])
  schedule = choices.RATE_SCHEDULES[options["schedule"]]
  trainer = train.make(
    model,
    choices.LOSSES[options["loss"]](model.apply, config["sigma"], options),
    optax.adam(schedule(options["learning_rate"], num_steps)),
    image_shape=splits.train.images.shape[1:],
    batch_size=options["batch_size"],
    victims_at_once=options["victims_at_once"],
    augment=choices.AUGMENTS[config["data"]["augment"]],
    noise_choice=options["noise"],
    adversary_warmup=options["adversary"]["warmup"],
  )
  return plan.TrainPlan(
    trainer,
    train.victim_keys(key, options["num_victims"]),
    num_epochs=options["num_epochs"],
    save_every=options["save_every"],
  )


def certification(
  config: dict[str, Any], splits: types.Splits, key: types.Key
) -> plan.CertifyPlan:
  """How the victims are certified, and on which points: a sample drawn by the seed."""
  options = config["certify"] | {"sigma": float(config["sigma"])}
  split, num_points = options.pop("split"), options.pop("num_points")
  dataset = {"test": splits.test, "validation": splits.validation}[split]
  indices = data.class_indices(dataset, config["data"]["target_class"])
  if num_points:
    generator = np.random.default_rng(config["seed"])
    indices = np.sort(generator.choice(indices, num_points, replace=False))
  return plan.CertifyPlan(split, dataset, options, indices, key)
