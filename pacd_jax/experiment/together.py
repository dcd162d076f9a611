"""Checks fields of a config against each other, and the names of rows, before any work."""

import re

from pacd_jax import errors, types
from pacd_jax.certification import confidence, soundness
from pacd_jax.experiment import (
  denoisers,
  ensemble_checks,
  evaded,
  frozen,
  kinds,
  procedures,
  schema,
  transforms,
)
from pacd_jax.experiment.attack_config import Attack, has_selection
from pacd_jax.experiment.config import Config
from pacd_jax.experiment.training_config import Train


def check(config: Config) -> None:
  """Raises at the first pair of fields that contradict each other.

  Raises:
    errors.InputError: names the fields, their values, and what to do instead.
  """
  _check_rows(config)
  _check_certificates(config)
  _check_preset(config)
  _check_solver(config.attack)
  _check_training(config.train)
  _check_ramps(config.train, config.attack)
  _check_stopping(config)
  _check_zero_mean(config.attack)
  _check_step_rule(config.attack)
  _check_knowledge(config)
  ensemble_checks.check(config)
  frozen.check(config)
  denoisers.check(config)
  if has_selection(config.attack):
    _check_selection(config)
  for group, training in (("attack", config.attack), ("train", config.train)):
    radius = training.adversary.epsilon
    is_used = kinds.LOSSES[training.loss.name].has_adversary
    if is_used and training.adversary.norm == "linf" and radius >= 1:
      raise errors.InputError(
        f"{group}.adversary.epsilon is {radius}: in linf it must be under 1, as images are "
        "in [0, 1]; 0.1 to 0.3 is usual for MNIST, 0.03 for CIFAR-10"
      )
  if config.attack.norm == "linf" and config.attack.epsilon > 1:
    raise errors.InputError(
      f"attack.epsilon is {config.attack.epsilon}: in linf it must be at most 1, as "
      "images are in [0, 1]"
    )


def _check_ramps(train: Train, attack: Attack) -> None:
  """The radius of losses on bounds reaches its full size, at which victims are judged."""
  lives = min(attack.restart_every, attack.num_steps)
  for group, training, unit, most, where in (
    ("train", train, "epochs", train.num_epochs, "train.num_epochs"),
    (
      "attack",
      attack,
      "Adam steps",
      attack.warmup_steps + attack.lower_steps * lives,
      "a surrogate's, attack.warmup_steps and attack.lower_steps in each outer step,",
    ),
  ):
    warmup, loss = training.adversary.warmup, training.loss.name
    if kinds.LOSSES[loss].needs_bounds and warmup > most:
      raise errors.InputError(
        f"{group}.adversary.warmup is {warmup} {unit} and {where} {most}: the radius of "
        f"{group}.loss={loss} would never be whole; use fewer"
      )


def check_row_name(group: str, name: str) -> None:
  """Raises `errors.InputError` unless a row, or a kind of victim, can have this name.

  A given poison may have the name of a row that would otherwise be made.
  """
  rows = (types.CLEAN,) if group == "poisons" else kinds.ROWS.names
  if not re.fullmatch(r"[\w+-]{1,100}", name) or name in (*rows, "report"):
    raise errors.InputError(
      f"config field {group}.{name} has an unusable name: use up to 100 letters, digits, "
      f"_, + and -, and none of {', '.join(rows)}"
    )


def _check_rows(config: Config) -> None:
  rows = config.rows.names
  for name, path in config.poisons.items():
    check_row_name("poisons", name)
    if path and name not in rows:
      example = ", ".join(f"'{row}'" for row in (types.CLEAN, name))
      raise errors.InputError(
        f"config field poisons.{name} is set, but rows has no {name!r}: add it, as in "
        f'--config.rows="({example})"'
      )
  given = [name for name, path in config.poisons.items() if path]
  known = [*kinds.ROWS.names, *given]
  for row in rows:
    if row not in known:
      raise errors.InputError(
        f"config field rows has {row!r}: use names out of {', '.join(known)}, or say in "
        f"poisons.{row} where that poison is"
      )
    if row in given or not kinds.LOSSES[config.attack.loss.name].has_adversary:
      continue
    if not kinds.ROWS[row].takes_adversary:
      raise errors.InputError(
        f"row {row} takes a training loss without an adversary, and attack.loss is "
        f"{config.attack.loss.name!r}: use gaussian, say, or leave the row out"
      )


def _check_certificates(config: Config) -> None:
  procedures.check(config)
  n, alpha = config.certify.n, config.certify.alpha
  if _draws(config) and not confidence.can_certify(n, alpha):
    raise errors.InputError(
      f"certify.n={n} cannot certify anything at certify.alpha={alpha:g}: even {n} equal "
      f"votes bound p_A under 1/2; use n of at least {confidence.least_votes(alpha)}"
    )
  if config.certify.sound:
    soundness.check(sigma=config.sigma, dtype=config.certify.dtype)
  if config.data.target_points and config.certify.split != "test":
    raise errors.InputError(
      "data.target_points are of the test split, but certify.split is "
      f"{config.certify.split!r}: set it to test, or leave them out"
    )


def _draws(config: Config) -> bool:
  """Whether certificates rest on votes of noisy copies."""
  return kinds.PROCEDURES[config.certify.procedure.name].draws


def _check_preset(config: Config) -> None:
  """A preset is a name for one attack: no field that defines it may differ."""
  attack = config.attack
  if not attack.preset.name:
    return
  preset, flat = kinds.PRESETS[attack.preset.name], schema.flatten(schema.values(config))
  for name, value in preset.fields(attack.loss.name).items():
    value = list(value) if isinstance(value, tuple) else value
    if flat[name] != value:
      raise errors.InputError(
        f"config field {name} is {flat[name]!r}, but it is {value!r} in the attack that "
        f"attack.preset={preset.name} names: leave {name} as it is, or set "
        "--config.attack.preset= for an attack of your own"
      )


def _check_training(train: Train) -> None:
  """Checks mixing and clipped gradients against the loss, and each other."""
  loss = kinds.LOSSES[train.loss.name]
  if train.mix.name != "none" and not loss.takes_mixed:
    known = " or ".join(each.name for each in kinds.LOSSES if each.takes_mixed)
    raise errors.InputError(
      f"train.mix is {train.mix.name!r}, but train.loss={loss.name} takes no mixed labels: "
      f"use train.loss={known}, or train.mix=none"
    )
  if train.clip_norm and not loss.is_mean:
    known = ", ".join(each.name for each in kinds.LOSSES if each.is_mean)
    raise errors.InputError(
      f"train.clip_norm is {train.clip_norm:g}, but train.loss={loss.name} is no mean of "
      f"single images' terms: use train.loss={known}, or train.clip_norm=0"
    )
  if train.clip_norm and train.mix.name != "none":
    raise errors.InputError(
      f"train.clip_norm is {train.clip_norm:g} and train.mix is {train.mix.name!r}: a "
      "mixed image is of two, and clipping would bound neither; use one of them"
    )
  if train.weight_decay and train.weight_decay_choices:
    raise errors.InputError(
      f"train.weight_decay is {train.weight_decay:g}, but train.weight_decay_choices are "
      f"{train.weight_decay_choices}: set the first to 0, or the second to ()"
    )
  if train.noise_multiplier and not train.clip_norm:
    raise errors.InputError(
      f"train.noise_multiplier is {train.noise_multiplier:g}, a multiple of "
      "train.clip_norm, which is 0: set train.clip_norm, such as to 1"
    )


def _check_stopping(config: Config) -> None:
  if config.train.stopping.every and config.certify.split == "validation":
    raise errors.InputError(
      "train.stopping.every chooses epochs by the class's validation images, and "
      "certify.split=validation would certify the same: use certify.split=test, or "
      "train.stopping.every=0"
    )
  n, alpha = config.train.stopping.n, config.certify.alpha
  if config.train.stopping.every and not confidence.can_certify(n, alpha):
    raise errors.InputError(
      f"train.stopping.n={n} cannot certify anything at certify.alpha={alpha:g}: use at "
      f"least {confidence.least_votes(alpha)}"
    )


def _check_knowledge(config: Config) -> None:
  """Checks that an attack that knows the defence has one that it can use."""
  if not config.attack.knows_defense:
    return
  mixes = config.train.mix.name != "none"
  of_chain = transforms.of_chain(config) | evaded.of_chain(config)
  if not (config.defense.inside.names or of_chain or mixes):
    filters = [each.name for each in kinds.DEFENCES if each.penalty is not None]
    raise errors.InputError(
      "attack.knows_defense is True, but neither defense.inside nor defense.chain has any "
      f"of {', '.join(kinds.TRANSFORMS.names)}, the chain has no filter "
      f"{' or '.join(filters)} on pixels, and there is no train.mix: add one, or set it to "
      "False"
    )
  if mixes and not kinds.LOSSES[config.attack.loss.name].takes_mixed:
    known = " or ".join(each.name for each in kinds.LOSSES if each.takes_mixed)
    raise errors.InputError(
      f"attack.knows_defense is True and train.mix is {config.train.mix.name!r}, but "
      f"attack.loss={config.attack.loss.name} takes no mixed labels: use "
      f"attack.loss={known}, or attack.knows_defense=False"
    )


def _check_zero_mean(attack: Attack) -> None:
  """Checks that nothing else moves the mean of an attack that keeps it."""
  if not attack.zero_mean:
    return
  starts = attack.starts.names
  for name, value, must_be in (
    ("num_shared_steps", attack.num_shared_steps, "0"),
    ("selection.corners", attack.selection.corners, "False"),
    ("selection.rows", attack.selection.rows, "()"),
    ("starts", starts if starts != ("clean",) else (), "('clean',)"),
  ):
    if value:
      raise errors.InputError(
        f"attack.zero_mean is True, but attack.{name} is {value}, which moves the class's "
        f"mean: set it to {must_be}"
      )


def _check_step_rule(attack: Attack) -> None:
  rule = kinds.STEP_RULES[attack.step_rule.name].make(attack.step_rule.own)
  if rule.of_places and attack.num_shared_steps:
    raise errors.InputError(
      f"attack.step_rule is {rule.name!r}, which moves each image by itself, but "
      f"attack.num_shared_steps is {attack.num_shared_steps}: set it to 0"
    )


def _check_solver(attack: Attack) -> None:
  is_solved = kinds.HYPERGRADIENTS[attack.hypergradient.name].solves
  solver = kinds.SOLVERS[attack.solver.name]
  if is_solved and solver.needs_warm_start and not attack.warm_start:
    raise errors.InputError(
      f"attack.solver is {solver.name!r}, whose few steps follow the solution over outer "
      "steps: set attack.warm_start=True, or use attack.solver=neumann"
    )
  if attack.warm_start and not (is_solved and solver.is_iterative):
    method = (
      f"solver={solver.name}" if is_solved else f"hypergradient={attack.hypergradient.name}"
    )
    iterative = ", ".join(each.name for each in kinds.SOLVERS if each.is_iterative)
    raise errors.InputError(
      f"attack.warm_start is True, but {method} starts from nothing: set it to False, or "
      f"use attack.solver={iterative}"
    )
  if solver.adds_damping and attack.damping <= 0:
    raise errors.InputError(
      f"attack.damping is {attack.damping}: attack.solver={solver.name} divides by it; use "
      "one above 0, such as 0.1"
    )


def _check_selection(config: Config) -> None:
  """Checks the fields by which the attack chooses among several poisons."""
  attack, alpha = config.attack, config.certify.alpha
  if _draws(config) and not confidence.can_certify(attack.selection.n, alpha):
    raise errors.InputError(
      f"attack.selection.n={attack.selection.n} cannot certify anything at "
      f"certify.alpha={alpha:g}: use at least {confidence.least_votes(alpha)}"
    )
  objective = kinds.OBJECTIVES[attack.objective.name]
  if not (objective.needs_noise or objective.lowers_radii):
    raise errors.InputError(
      "attack.starts and attack.selection choose by the ACR, but attack.objective is "
      f"{attack.objective.name!r}: give one start, and attack.selection.every=0 and "
      "corners=False"
    )
  known = [  # Of PACD's aim.
    each.name
    for each in kinds.ROWS
    if each.make is not None and each.is_bounded and not each.is_targeted
  ]
  for row in attack.selection.rows:
    if row not in known:
      raise errors.InputError(
        f"config field attack.selection.rows has {row!r}: use names out of "
        f"{', '.join(known)}"
      )
  if attack.selection.corners and (attack.norm != "linf" or attack.num_frequencies):
    raise errors.InputError(
      "attack.selection.corners is for an attack.norm of linf and all frequencies, not for "
      f"{attack.norm} and num_frequencies={attack.num_frequencies}: set it to False"
    )
