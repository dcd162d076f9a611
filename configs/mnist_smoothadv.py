"""SmoothAdv on MNIST."""

import ml_collections

from configs import base, mnist_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", fields such as "sigma=0.5"; commas between several."""
  config = mnist_ga.get_config()
  attack, train = config.attack, config.train
  attack.loss = "smoothadv"
  attack.lower_steps = 1
  attack.restart_every = 100
  attack.warmup_steps = 500
  attack.adversary.warmup = 275
  train.loss = "smoothadv"
  train.batch_size = 100
  train.adversary.warmup = 10
  base.apply_variant(config, variant, {"fast": fast, "smoke": smoke})
  return config


def fast(config: ml_collections.ConfigDict) -> None:
  """For two cores and no GPU."""
  mnist_ga.fast(config)
  config.attack.adversary.warmup = 30
  config.train.batch_size = 200
  config.train.adversary.warmup = 4


def smoke(config: ml_collections.ConfigDict) -> None:
  """Every stage and row, as small as they go; its numbers mean nothing."""
  fast(config)
  mnist_ga.smoke(config)
