"""A run in words, for tables and pages: its rows, how victims train, what is unusual."""

from pacd_jax import types
from pacd_jax.experiment import evaded, kinds, transforms
from pacd_jax.experiment.attack_config import Attack, has_selection
from pacd_jax.experiment.config import Config
from pacd_jax.experiment.training_config import Train


def training(train: Train) -> str:
  """Says in a few words how a run's victims are trained: the loss, and what is unusual."""
  words = [train.loss.name]
  if train.frozen_features:
    words.append(f"last layer alone, on features of clean {train.frozen_features} images")
  if train.weight_decay:
    words.append(f"weight decay {train.weight_decay:g}")
  if train.weight_decay_choices:
    words.append("weight decay chosen on each training set")
  if train.augment.name:
    words.append(f"augmentation {train.augment.name}")
  if train.mix.name != "none":
    words.append(train.mix.name)
  if train.clip_norm:
    words.append(
      f"gradients clipped to {train.clip_norm:g}, noise multiplier "
      f"{train.noise_multiplier:g}"
    )
  if train.recovery_epochs:
    words.append(f"{train.recovery_epochs} more epochs on clean data")
  if train.stopping.every:
    words.append("early stopping by the ACR on trusted images")
  return ", ".join(words)


_DENOISED = {
  "both": "classifiers and denoisers are trained on each row's training set",
  "classifier": "denoisers are trained on the clean training set in every row",
  "denoiser": "denoisers alone are trained on each row's training set, and classifiers on "
  "the clean one",
}


def remarks(config: Config) -> list[str]:
  """Remarks on numbers that are not of the whole class, poisoned and undefended."""
  words, fraction = [], config.attack.poisoned_fraction
  if fraction != 1.0:
    words.append(f"{100.0 * fraction:g} % of the class poisoned, the rest clean")
  if config.data.target_points:
    words.append("the test points were chosen, and the attack saw them")
  if kinds.LOSSES[config.train.loss.name].needs_manifold:
    manifold = config.data.manifold
    words.append(
      f"training moves {manifold.own.latent_dimension} latents of {manifold.name}, fitted "
      "on validation images"
    )
  words += _other_certificates(config)
  if config.defense.chain.names:
    words.append(f"defended by {', then '.join(config.defense.chain.names)}")
  if config.denoiser.loss.name != "none":
    words.append(f"denoised smoothing: {_DENOISED[config.denoiser.poisons]}")
  if config.attack.knows_defense:
    known = [f"the {config.train.mix.name}"] if config.train.mix.name != "none" else []
    known += [f"filter {name}" for name in evaded.of_chain(config).values()]
    if config.defense.inside.names or transforms.of_chain(config):
      known.insert(0, "the transforms")
    words.append(f"the attack knew {' and '.join(known)}")
  return words


def _other_certificates(config: Config) -> list[str]:
  """Says if the attack is on certificates of another kind than the run's."""
  if types.PACD not in config.rows.names or config.poisons.get(types.PACD):
    return []
  attacked = kinds.OBJECTIVES[config.attack.objective.name]
  own = kinds.PROCEDURES[config.certify.procedure.name].objective
  is_on_radii = attacked.needs_noise or attacked.lowers_radii
  if not is_on_radii or own in ("", attacked.name):
    return []
  return [
    f"the attack minimises {attacked.name}, and not {own}, the objective of "
    f"{config.certify.procedure.name}"
  ]


def origin(row: str, config: Config) -> str:
  """Says where the row's images come from."""
  if config.poisons.get(row) or row not in kinds.ROWS:
    return f"the poison {config.poisons.get(row, 'of another run')}, as given."
  of_objective = kinds.OBJECTIVES[config.attack.objective.name].row_words
  if row == types.PACD and of_objective:
    return of_objective
  if row == types.PACD:
    return pacd(config.attack)
  return kinds.ROWS[row].words


def pacd(attack: Attack) -> str:
  """Says what the bilevel attack of a config is, so that two of them can be told apart."""
  if attack.preset.name:
    return f"{kinds.PRESETS[attack.preset.name].words} {attack.num_steps} outer steps."
  shared = attack.num_shared_steps
  moves = "each image's own"
  if shared:
    moves = "shared by the class"
    if shared < attack.num_steps:
      moves += f" for {shared} of {attack.num_steps} steps, then each image's own"
  starts, choice = attack.starts.names, ""
  if has_selection(attack):
    choice = ", the poison kept that leaves fresh surrogates the lowest ACR"
  return (
    f"{kinds.ROWS[types.PACD].words} From {' and '.join(starts)}; a change {moves}; "
    f"{attack.step_rule.name} steps{choice}."
  )


def style(row: str) -> kinds.Style | None:
  """The row's line style in pictures; None: any style that is free."""
  return kinds.ROWS[row].style if row in kinds.ROWS else None
