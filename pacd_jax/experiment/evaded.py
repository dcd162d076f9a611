"""The filters of a run's chain that its attack can stay under, and the terms for that."""

from pacd_jax import types
from pacd_jax.experiment import kinds, targets, transforms
from pacd_jax.experiment.config import Config


def of_chain(config: Config) -> dict[int, str]:
  """The filters on pixels with a penalty, by their places in the chain.

  Those behind a transform see other images than the attack makes, and are left out.
  """
  chain = config.defense.chain
  end = min(transforms.of_chain(config), default=len(chain.names))
  return {
    place: name
    for place, name in enumerate(chain.names[:end])
    if kinds.DEFENCES[name].penalty is not None
    and getattr(chain.options.get(name), "of", "pixels") == "pixels"
  }


def penalties(config: Config, splits: types.Splits) -> tuple[types.PenaltyFn, ...]:
  """What the attack adds to its objective, one term for each of these filters."""
  tools = kinds.PenaltyTools(
    splits,
    config.data.target_class,
    len(targets.poisoned(config, splits)),
    config.attack.evasion_weight,
  )
  made = []
  for name in of_chain(config).values():
    penalty = kinds.DEFENCES[name].penalty
    assert penalty is not None
    made.append(penalty(tools, config.defense.chain.options.get(name)))
  return tuple(made)
