"""The defences of a run, made of its config."""

import dataclasses
import functools

import jax

from pacd_jax import types
from pacd_jax.experiment import assembly, defended, kinds, victims
from pacd_jax.experiment.config import Config


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
