"""Code shared by the configs of ensembles: the fields that make victims of many networks.

Not an experiment by itself.
"""

from collections.abc import Callable, Mapping

import ml_collections

Change = Callable[[ml_collections.ConfigDict], None]


def variants(**numbers: int) -> Mapping[str, Change]:
  """The variants that choose another aggregation: `finite`, `run_off`, `content`, `rab`.

  Args:
    **numbers: networks of a victim, by the variant's name; by default the config's.
  """

  def named(name: str, change: Change) -> Change:
    def with_number(config: ml_collections.ConfigDict) -> None:
      change(config)
      if name in numbers:
        config.train.ensemble.num_models = numbers[name]

    return with_number

  changes = {"finite": _finite, "run_off": _run_off, "content": _content, "rab": _rab}
  return {name: named(name, change) for name, change in changes.items()}


def _finite(config: ml_collections.ConfigDict) -> None:
  """Finite Aggregation: each part goes to several networks."""
  config.train.ensemble.aggregation = "finite_aggregation"


def _run_off(config: ml_collections.ConfigDict) -> None:
  """Run-Off Election on the same networks as Deep Partition Aggregation."""
  config.train.ensemble.aggregation = "run_off"


def _content(config: ml_collections.ConfigDict) -> None:
  """Parts by a hash of the image: removed or inserted images."""
  config.train.ensemble.deep_partition.partition = "content"


def _rab(config: ml_collections.ConfigDict) -> None:
  """RAB: networks of all images, each with noise of its own on them."""
  config.train.ensemble.aggregation = "rab"
  config.train.noise = "fixed"
  config.certify.poisoned_images = ()
