"""The parts of a run's plan, each made of the config's values as plain nested dictionaries.

`experiment.build` checks the values before and puts the parts together.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from pacd_jax import errors, train, types
from pacd_jax.attacks import baselines, pacd, problem
from pacd_jax.data import arrays
from pacd_jax.experiment import choices, plan, row_data, targets
from pacd_jax.models import networks
from pacd_jax.runtime import sharding

# Fields of the group `attack` that `problem.Settings` has by the same name.
_PACD_OPTIONS = (
  "clean_batch",
  "poison_batch",
  "val_batch",
  "noise",
  "lower_steps",
  "warmup_steps",
  "num_surrogates",
  "surrogates_at_once",
  "warm_start",
  "num_shared_steps",
  "num_frequencies",
  "step_rule",
  "normalize",
  "momentum",
)

# And those that say how the victim is assumed to train.
_OF_LOSS = ("loss", "noise", "macer", "adversary", "smoothadv", "trades")


def check_sizes(config: dict[str, Any], splits: types.Splits) -> None:
  """Whether the config's numbers are those of its data.

  Raises:
    errors.InputError: a target point is not there, or of another class; a batch is larger
      than what it is drawn from, or the devices do not divide it.
  """
  target = config["data"]["target_class"]
  num_train = len(splits.train.labels)
  num_poisoned = len(targets.poisoned(config, splits))
  points = targets.checked_points(config, splits)
  num_seen = num_certified = len(points)
  if not points:
    num_seen = len(arrays.class_indices(splits.validation, target))
    num_certified = len(arrays.class_indices(splits.test, target))
  for name, available in {
    "attack.clean_batch": num_train - num_poisoned,
    "attack.poison_batch": num_poisoned,
    "attack.val_batch": num_seen,
    "attack.selection.num_points": num_seen,
    "train.batch_size": num_train,
    "certify.num_points": num_certified,
  }.items():
    size = functools.reduce(lambda group, field: group[field], name.split("."), config)
    if size > available:
      raise errors.InputError(
        f"config field {name} is {size}, but {splits.name} has {available} images for it: "
        f"use at most {available}"
      )
  if row_data.PACD in config["rows"]:
    _check_shares(config, num_train - num_poisoned)


def _check_shares(config: dict[str, Any], most: int) -> None:
  """Of the lower level's batch, which is most of the attack's work.

  Smaller ones, as the upper level's, are filled up (`sharding.over_batch`).
  """
  clean, poison = (config["attack"][f"{kind}_batch"] for kind in ("clean", "poison"))
  devices = sharding.batch_mesh().size
  if not (clean + poison) % devices:
    return
  down = clean - (clean + poison) % devices
  near = [size for size in (down, down + devices) if 1 <= size <= most]
  nearest = min(near, key=lambda size: abs(size - clean), default=None)
  raise errors.InputError(
    f"{devices} devices do not divide a batch of attack.clean_batch + attack.poison_batch "
    f"= {clean} + {poison} images: "
    + (f"use attack.clean_batch={nearest}, or " if nearest else "use ")
    + "fewer devices"
  )


def model(config: dict[str, Any], splits: types.Splits) -> tuple[types.Model, str]:
  """The architecture of the surrogate and of the victims, and its name in tables."""
  name, norm = config["model"]["name"], config["model"]["norm"]
  made = networks.make(
    name,
    num_classes=splits.num_classes,
    image_shape=splits.train.images.shape[1:],
    norm=norm,
  )
  return made, f"{name} ({norm})" if norm else name


def budget(config: dict[str, Any]) -> dict[str, Any]:
  """`epsilon` and `norm` of every poison that the run makes."""
  return {"epsilon": float(config["attack"]["epsilon"]), "norm": config["attack"]["norm"]}


def attack_settings(
  config: dict[str, Any], model: types.Model, mesh: jax.sharding.Mesh | None = None
) -> problem.Settings:
  """What the group `attack` says of the bilevel problem, and of any attack's surrogate.

  With a mesh, its devices share every batch that the network sees.
  """
  options = config["attack"]
  loss = choices.LOSSES[options["loss"]]
  objective = choices.OBJECTIVES[options["objective"]]
  if mesh is not None:
    model = model._replace(apply=sharding.over_batch(model.apply, mesh))
  schedule = choices.STEP_SCHEDULES[options["step_schedule"]]
  return problem.Settings(
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


def attack(
  config: dict[str, Any], splits: types.Splits, model: types.Model, key: types.Key
) -> plan.AttackPlan:
  """PACD as the config has it; nothing is put on a device yet."""
  options, starts = config["attack"], first_perturbations(config, splits, key)
  mesh = sharding.batch_mesh()
  return plan.AttackPlan(
    pacd.make(attack_settings(config, model, mesh)),
    functools.cache(lambda: targets.attack_data(config, splits)),
    key,
    {name: starts[name] for name in options["starts"]},
    mesh=mesh,
    num_steps=options["num_steps"],
    is_shared=options["num_shared_steps"] >= options["num_steps"],
    restart_every=options["restart_every"],
    num_surrogates=options["num_surrogates"],
    save_every=options["save_every"],
    remedy=functools.partial(choices.remedy, options)
    if choices.needs_definite(options)
    else None,
    selection=selection(config, splits, model, key),
    uses_sigma=options["objective"] == "acr" or options["loss"] in choices.NOISY,
  )


def first_perturbations(
  config: dict[str, Any], splits: types.Splits, key: types.Key
) -> dict[str, Callable[[], types.Array | None]]:
  """What the attack may start from, by `choices.STARTS`; None: the clean images."""
  target, shape = config["data"]["target_class"], splits.train.images.shape[1:]

  def towards_others():
    return baselines.classwise_shift(splits.train, target, **budget(config))

  def at_random():
    own = jax.random.fold_in(key, problem.START)
    return baselines.random_shift(own, shape, **budget(config))

  return {
    "clean": lambda: None,
    "classwise": towards_others,
    "away": lambda: -towards_others(),  # Theorem 1's other optimum.
    "brightness": lambda: baselines.brightness_shift(shape, **budget(config)),
    "random": at_random,
  }


def selection(
  config: dict[str, Any], splits: types.Splits, model: types.Model, key: types.Key
) -> plan.SelectionPlan | None:
  """How the attack's poison is chosen; None where there is one candidate."""
  options, train_options = config["attack"]["selection"], dict(config["train"])
  if not choices.has_selection(config["attack"]["starts"], options):
    return None
  if train_options["loss"] != config["attack"]["loss"]:  # As the attacker assumes it.
    warmup = train_options["adversary"]["warmup"]  # In epochs; the attack's, in steps.
    train_options |= {name: config["attack"][name] for name in _OF_LOSS}
    train_options["adversary"] = train_options["adversary"] | {"warmup": warmup}
  # What victims do without the attacker's knowledge.
  train_options |= {"recovery_epochs": 0, "weight_decay": 0.0, "augment": ""}
  train_options["num_victims"] = options["num_surrogates"]
  certify_options = config["certify"] | {
    name: options[name] for name in ("n", "num_points")
  }
  seen = "validation" if targets.points(config) is None else "test"
  certify_options |= {"split": seen, "mode": "fixed"}
  keys = [
    jax.random.fold_in(key, stream)
    for stream in (problem.SELECTION_TRAIN, problem.SELECTION_CERTIFY)
  ]
  return plan.SelectionPlan(
    options["every"],
    options["corners"],
    training(config | {"train": train_options}, splits, model, keys[0]),
    certification(config | {"certify": certify_options}, splits, keys[1]),
  )


def training(
  config: dict[str, Any], splits: types.Splits, model: types.Model, key: types.Key
) -> plan.TrainPlan:
  """How the victims are trained."""
  options = config["train"]
  trainer = train.make(
    model,
    choices.LOSSES[options["loss"]](model.apply, config["sigma"], options),
    functools.partial(_optimizer, options),
    image_shape=splits.train.images.shape[1:],
    num_epochs=options["num_epochs"],
    recovery_epochs=options["recovery_epochs"],
    batch_size=options["batch_size"],
    victims_at_once=options["victims_at_once"],
    augment=choices.AUGMENTS[options["augment"] or config["data"]["augment"]],
    noise_choice=options["noise"],
    adversary_warmup=options["adversary"]["warmup"],
    mesh=sharding.batch_mesh(),
  )
  return plan.TrainPlan(
    trainer,
    train.victim_keys(key, options["num_victims"]),
    num_epochs=options["num_epochs"],
    recovery_epochs=options["recovery_epochs"],
    batch_size=options["batch_size"],
    save_every=options["save_every"],
    mesh=sharding.batch_mesh(),
  )


def _optimizer(
  options: dict[str, Any], num_steps: int | types.Array
) -> optax.GradientTransformation:
  """Of the victims: Adam, with decoupled weight decay (AdamW) where they have some."""
  schedule = choices.RATE_SCHEDULES[options["schedule"]]
  rate = schedule(options["learning_rate"], num_steps)
  if not options["weight_decay"]:
    return optax.adam(rate)
  return optax.adamw(rate, weight_decay=options["weight_decay"])


def certification(
  config: dict[str, Any], splits: types.Splits, key: types.Key
) -> plan.CertifyPlan:
  """How the victims are certified, and on which points: a sample drawn by the seed.

  They are of the class, or the target points alone.
  """
  options = config["certify"] | {"sigma": float(config["sigma"])}
  split, num_points = options.pop("split"), options.pop("num_points")
  dataset = {"test": splits.test, "validation": splits.validation}[split]
  indices = targets.points(config)
  if indices is None:
    indices = arrays.class_indices(dataset, config["data"]["target_class"])
  if num_points:
    generator = np.random.default_rng(config["seed"])
    indices = np.sort(generator.choice(indices, num_points, replace=False))
  return plan.CertifyPlan(split, dataset, options, indices, key)
