"""Checks the fields of ensembles against the others, before any work."""

from pacd_jax import errors
from pacd_jax.experiment import ensembles, kinds
from pacd_jax.experiment.config import Config


def check(config: Config) -> None:
  """Checks what ensembles cannot have, and what nothing else can.

  Raises:
    errors.InputError: names the fields, their values, and what to do instead.
  """
  train, levels = config.train, config.certify.poisoned_images
  entry = kinds.AGGREGATIONS[train.ensemble.aggregation.name]
  if entry.name == "none":
    if levels:
      raise errors.InputError(
        f"certify.poisoned_images is {levels}, but a victim is one network, which has no "
        "certificate against poisoning: set it to (), or "
        "train.ensemble.aggregation=deep_partition"
      )
    return
  for name, value, must_be in (
    ("train.recovery_epochs", train.recovery_epochs, "0"),
    ("train.stopping.every", train.stopping.every, "0"),
    ("train.weight_decay_choices", train.weight_decay_choices, "()"),
  ):
    if value:
      raise errors.InputError(
        f"{name} is {value}, which trusted data or all of the training set would decide "
        f"for every network of train.ensemble.aggregation={entry.name}: set it to {must_be}"
      )
  for name in config.defense.chain.names:
    if not kinds.DEFENCES[name].is_per_image:
      raise errors.InputError(
        f"defense.chain has {name!r}, by which one changed image may change what others "
        "become, and so every network: leave it out, or use "
        "train.ensemble.aggregation=none"
      )
  if levels and config.certify.mode.name != "fixed":
    raise errors.InputError(
      f"certify.poisoned_images is {levels}, but certify.mode is "
      f"{config.certify.mode.name!r}: one pass serves all of them in mode fixed alone"
    )
  scheme = ensembles.scheme_of(config)
  assert scheme is not None
  if entry.smooths_training:
    _check_smoothed(config, entry)
  elif levels and levels[-1] > scheme.largest_radius:
    raise errors.InputError(
      f"certify.poisoned_images has {levels[-1]}, but {scheme.num_models} networks certify "
      f"at most {scheme.largest_radius}: use smaller numbers, or a larger "
      "train.ensemble.num_models"
    )
  elif train.noise == "fixed" and not scheme.positional:
    raise errors.InputError(
      "train.noise is 'fixed', one draw for the position of an image, but the partition of "
      f"train.ensemble.{entry.name} lets images move: use train.noise=fresh, or "
      "partition=position"
    )


def _check_smoothed(config: Config, entry: kinds.Aggregation) -> None:
  """Checks that noise on the training images is all that their use adds to them."""
  train, data = config.train, config.data
  augment = train.augment.name or data.augment.name
  for name, value, must_be, why in (
    ("train.noise", train.noise, "fixed", "noise drawn anew is another data set's"),
    ("train.loss", train.loss.name, "gaussian", "others see more than the noisy images"),
    ("train.augment", augment, "none", "an augmented image has not its own noise"),
    ("train.mix", train.mix.name, "none", "a mixed image has not its own noise"),
    ("defense.chain", config.defense.chain.names, (), "it may enlarge a change's norm"),
  ):
    if value != must_be:
      raise errors.InputError(
        f"{name} is {value!r}, but train.ensemble.aggregation={entry.name} certifies a "
        f"smoothed training set: set it to {must_be} ({why})"
      )
  if config.certify.poisoned_images:
    raise errors.InputError(
      f"certify.poisoned_images is {config.certify.poisoned_images}, but "
      f"train.ensemble.aggregation={entry.name} certifies an l2 norm, not a number of "
      "images: set it to ()"
    )
