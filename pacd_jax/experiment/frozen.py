"""Frozen features: victims that train the last layer of a network trained before.

Transfer learning, on which attacks by collisions of features rely. The network is trained
once in a run, as a victim is but on the clean images of the split that
`train.frozen_features` names, with a seed of its own. Nothing of it is saved: a stage that
needs it trains it anew, to the same parameters.
"""

import dataclasses
import functools

import jax

from pacd_jax import errors, types
from pacd_jax.data import training_sets
from pacd_jax.experiment import assembly, victims
from pacd_jax.experiment.config import Config
from pacd_jax.models import last_layer


def make(
  config: Config, splits: types.Splits, model: types.Model, key: types.Key
) -> last_layer.Frozen | None:
  """The network whose features the victims keep; None: they are trained from scratch.

  Args:
    config: the run's config.
    splits: its data.
    model: the victims' network.
    key: of the training; cloned, not consumed.

  Raises:
    errors.InputError: the network has no layer before its last, or the split has fewer
      images than a batch.
  """
  split = config.train.frozen_features
  if not split:
    return None
  dataset, shape = splits.named(split), splits.train.images.shape[1:]
  is_last = last_layer.find(model, shape, config.model.name.name)
  if len(dataset.labels) < config.train.batch_size:
    raise errors.InputError(
      f"train.frozen_features is {split!r}, which has {len(dataset.labels)} images, but "
      f"train.batch_size is {config.train.batch_size}: use a smaller one"
    )
  own = dataclasses.replace(config.train, frozen_features="", recovery_epochs=0)

  @functools.cache
  def params() -> types.Params:
    of_one = dataclasses.replace(config, train=own)
    run = assembly.training(of_one, splits, model, jax.random.clone(key))
    whole = training_sets.whole(dataset)
    return victims.train_one(run, whole, jax.random.clone(key), stage="features")

  return last_layer.Frozen(is_last, params)


def check(config: Config) -> None:
  """Checks that nothing else of the victims contradicts frozen features.

  Raises:
    errors.InputError: names the fields, their values, and what to do instead.
  """
  train = config.train
  if not train.frozen_features:
    return
  scheme = train.ensemble.aggregation.name
  for name, is_set, value in (
    ("train.ensemble.aggregation", scheme != "none", scheme),
    ("train.weight_decay_choices", train.weight_decay_choices, train.weight_decay_choices),
    ("train.clip_norm", train.clip_norm, train.clip_norm),
  ):
    if is_set:
      raise errors.InputError(
        f"train.frozen_features is {train.frozen_features!r} and {name} is {value}, which "
        "is for networks trained from scratch: set one of them to its default"
      )
