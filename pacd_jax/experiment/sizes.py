"""Checks a config's sizes against its data and the devices."""

from pacd_jax import errors, types
from pacd_jax.data import arrays
from pacd_jax.experiment import ensembles, kinds, manifolds, targets, weight_decay
from pacd_jax.experiment.config import Config
from pacd_jax.runtime import sharding


def check(config: Config, splits: types.Splits) -> None:
  """Checks every size, and the rows' options, against the data.

  Raises:
    errors.InputError: a target point does not exist or has another class; a batch is larger
      than what it is drawn from, or the devices do not divide it; or a row's options do not
      fit the data.
  """
  target = config.data.target_class
  num_train = len(splits.train.labels)
  num_poisoned = len(targets.poisoned(config, splits))
  points = targets.checked_points(config, splits)
  num_seen = num_certified = len(points)
  if not points:
    num_seen = len(arrays.class_indices(splits.validation, target, "validation"))
    split = config.certify.split
    num_certified = len(arrays.class_indices(splits.named(split), target, split))
  num_trusted = int((splits.validation.labels == target).sum())
  num_trained = num_train
  if config.train.weight_decay_choices:
    num_trained -= -(-num_train // weight_decay.NUM_FOLDS)  # Without the largest fold.
  num_trained = _of_one_network(config, splits, num_trained)
  of_attack = (
    ("attack.clean_batch", config.attack.clean_batch, num_train - num_poisoned),
    ("attack.poison_batch", config.attack.poison_batch, num_poisoned),
    ("attack.val_batch", config.attack.val_batch, num_seen),
    ("attack.selection.num_points", config.attack.selection.num_points, num_seen),
  )
  rows = [kinds.ROWS[row] for row in config.rows.names if row in kinds.ROWS]
  for name, size, available in (
    *(of_attack if any(row.trains_surrogate for row in rows) else ()),
    ("train.batch_size", config.train.batch_size, num_trained),
    ("train.stopping.num_points", config.train.stopping.num_points, num_trusted),
    ("certify.num_points", config.certify.num_points, num_certified),
  ):
    if size > available:
      raise errors.InputError(
        f"config field {name} is {size}, but {splits.name} has {available} images for it: "
        f"use at most {available}"
      )
  if types.PACD in config.rows.names:
    check_shares(config, num_train - num_poisoned)
  for entry in targets.made_rows(config):
    if entry.check is not None:
      entry.check(config.rows.options.get(entry.name), splits)
    if entry.is_targeted:
      targets.check_target(config, splits, entry)
  chain = config.defense.chain
  for name in chain.names:
    if (fits := kinds.DEFENCES[name].check) is not None:
      with errors.about(f"config field defense.{name}"):
        fits(chain.options.get(name), splits)
  for group, choice in (("data", config.data.augment), ("train", config.train.augment)):
    if choice.name and (fits := kinds.AUGMENTS[choice.name].check) is not None:
      with errors.about(f"config field {group}.augment"):
        fits(choice.own, splits)
  used = [config.train.loss, config.attack.loss]
  if any(kinds.LOSSES[loss.name].needs_manifold for loss in used):
    manifolds.check(config, splits)


def _of_one_network(config: Config, splits: types.Splits, num_train: int) -> int:
  """The training images of one network of a victim, on average; checks that it has some."""
  scheme, choice = ensembles.scheme_of(config), config.train.ensemble.aggregation
  if scheme is None or scheme.members is None:
    return num_train
  if scheme.num_models > num_train:
    raise errors.InputError(
      f"config field train.ensemble.num_models is {scheme.num_models}, but there are "
      f"{num_train} training images, and each network needs some: use at most {num_train}"
    )
  if (fits := kinds.AGGREGATIONS[choice.name].check) is not None:
    with errors.about(f"config field train.ensemble.{choice.name}"):
      fits(choice.own, splits)
  return num_train * scheme.spread // scheme.num_models


def check_shares(config: Config, most: int) -> None:
  """Checks that the devices divide the lower level's batch, most of the attack's work.

  Smaller batches, such as the upper level's, are padded (`sharding.over_batch`).

  Args:
    config: the run's config.
    most: the number of clean images.

  Raises:
    errors.InputError: they do not; names the nearest size that they divide.
  """
  clean, poison = config.attack.clean_batch, config.attack.poison_batch
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
