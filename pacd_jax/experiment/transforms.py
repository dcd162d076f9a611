"""The transforms of a run: inside its classifier, and those of its defences' chain."""

import jax

from pacd_jax import types
from pacd_jax.experiment import kinds
from pacd_jax.experiment.config import Config


def inside(config: Config, splits: types.Splits, key: types.Key) -> list[types.TransformFn]:
  """The transforms before the network, `defense.inside`, in order.

  Args:
    config: the run's config.
    splits: its data; a transform may be made of the validation split.
    key: folded, not consumed.
  """
  names = config.defense.inside.names
  return [_made(config, splits, name, key, place) for place, name in enumerate(names)]


def named(config: Config, network: str) -> str:
  """The name of the classifier in tables: "small_cnn after jpeg, then blur"."""
  names = config.defense.inside.names
  return f"{network} after {', then '.join(names)}" if names else network


def of_chain(config: Config) -> dict[int, str]:
  """The transforms among the defences of the training set, by their places in the chain."""
  names = enumerate(config.defense.chain.names)
  return {place: name for place, name in names if name in kinds.TRANSFORMS}


def through_chain(
  config: Config, splits: types.Splits, key: types.Key
) -> types.TransformFn | None:
  """The transforms of the chain, one after the other; None if it has none.

  With the chain's own key they are those that the chain applies, but for the rounding of
  training images to 8 bits after each.
  """
  made = [
    _made(config, splits, name, key, place) for place, name in of_chain(config).items()
  ]

  def transform(images):
    for each in made:
      images = each(images)
    return images

  return transform if made else None


def _made(config, splits, name, key, place) -> types.TransformFn:
  tools = kinds.TransformTools(splits.validation, jax.random.fold_in(key, place))
  return kinds.TRANSFORMS[name].make(tools, config.defense.chain.options.get(name))
