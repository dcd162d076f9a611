"""The defences of a run, made of its config."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax

from pacd_jax import types
from pacd_jax.defenses import chain as chains
from pacd_jax.experiment import assembly, defended, evaded, kinds, transforms, victims
from pacd_jax.experiment.config import Config


class Known(NamedTuple):
  """What an attack knows of the training set's defences: transforms and some filters."""

  transform: types.TransformFn | None  # Inside its two levels, with derivatives.
  penalties: tuple[types.PenaltyFn, ...]  # Of the filters, in its upper level.
  # What its surrogates do to a training set before they are trained on it from scratch.
  defend: Callable[[types.TrainingSet], types.TrainingSet]


def known(
  config: Config, splits: types.Splits, model: types.Model, key: types.Key
) -> Known:
  """What the config's attack knows: nothing, unless `attack.knows_defense`.

  Arguments are those of `plan`, and so is the key, so that the transforms are the same.
  """
  if not config.attack.knows_defense:
    return Known(None, (), lambda training_set: training_set)
  choices = config.defense.chain
  there = transforms.of_chain(config) | evaded.of_chain(config)
  # Others keep their places, by which a defence's key is drawn.
  names = tuple(there.get(place, "identity") for place in range(len(choices.names)))
  known_chain = dataclasses.replace(choices, names=names)
  group = dataclasses.replace(config.defense, chain=known_chain)
  of_known = plan(dataclasses.replace(config, defense=group), splits, model, key)

  def defend(training_set):
    tools = of_known.tools()
    return chains.apply(of_known.chain, training_set, of_known.key, tools)[0]

  transform = transforms.through_chain(config, splits, key)
  return Known(transform, evaded.penalties(config, splits), defend)


def plan(
  config: Config, splits: types.Splits, model: types.Model, key: types.Key
) -> defended.DefencePlan:
  """The plan of the defences of every row's training set; trains nothing yet.

  Args:
    config: the run's config.
    splits: its data; a defence sees the validation split beside the training set.
    model: its network.
    key: the chain's key; folded, not consumed.
  """
  options = config.defense.chain
  chain = [
    (name, kinds.DEFENCES[name].make(options.options.get(name))) for name in options.names
  ]

  @functools.cache  # All rows' defences share one compiled trainer.
  def tools() -> types.Tools:
    plainly = dataclasses.replace(config.train, recovery_epochs=0)
    of_one = dataclasses.replace(config, train=plainly)
    run = assembly.training(of_one, splits, model, jax.random.clone(key))
    return types.Tools(
      model=model,
      train=functools.partial(victims.train_one, run, stage="defense/victim"),
      validation=splits.validation,
      num_classes=splits.num_classes,
    )

  return defended.DefencePlan(chain, key, tools)
