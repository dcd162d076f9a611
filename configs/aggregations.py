"""Code shared by the configs of ensembles: the fields that make victims of many networks.

Not an experiment by itself.
"""

from collections.abc import Callable, Mapping

import ml_collections

Change = Callable[[ml_collections.ConfigDict], None]


def without_noise(config: ml_collections.ConfigDict, num_models: int) -> None:
  """One victim of clean data as in Levine and Feizi (2021), and few points at test time."""
  config.rows = ("clean",)
  train = config.train
  train.loss = "standard"
  train.ensemble.aggregation = "deep_partition"
  train.ensemble.num_models = num_models
  train.num_victims = 1
  train.schedule = "cosine"
  config.certify.n = 1000
  config.certify.num_points = 10


def smoke(config: ml_collections.ConfigDict) -> None:
  """Few networks that compile in a moment, two rows, and both kinds of certificates."""
  config.model.name, config.model.norm = "linear", ""
  config.rows = ("clean", "brightness")
  train = config.train
  train.loss = "gaussian"
  train.ensemble.num_models = 9
  train.ensemble.rab.num_choosing = 3
  train.num_victims = 1
  train.batch_size = 10
  train.augment = "none"
  train.victims_at_once = 9
  config.certify.poisoned_images = (1, 3)


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
  """RAB: networks of all images, each with noise of its own on them, and so few epochs."""
  train = config.train
  train.ensemble.aggregation = "rab"
  train.loss = "gaussian"
  train.noise = "fixed"
  train.augment = "none"
  train.num_victims = 1
  train.num_epochs = min(train.num_epochs, 12)
  train.batch_size = 50
  config.certify.poisoned_images = ()
