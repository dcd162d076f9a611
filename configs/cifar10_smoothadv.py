"""SmoothAdv on CIFAR-10."""

import ml_collections

from configs import base, cifar10_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", fields such as "sigma=0.5"; commas between several."""
  config = cifar10_ga.get_config()
  config.data.augment = "none"
  attack, train = config.attack, config.train
  attack.loss = "smoothadv"
  attack.lower_steps = 1
  attack.restart_every = 400
  attack.warmup_steps = 2000
  attack.adversary.warmup = 1125
  train.loss = "smoothadv"
  train.num_epochs = 101
  train.batch_size = 100
  train.adversary.warmup = 10
  base.apply_variant(config, variant, {"fast": fast, "smoke": smoke})
  return config


def fast(config: ml_collections.ConfigDict) -> None:
  """For two cores and no GPU."""
  cifar10_ga.fast(config)
  config.attack.adversary.warmup = 200
  config.attack.adversary.epsilon = 0.25
  config.train.batch_size = 200
  config.train.adversary.warmup = 5
  config.train.adversary.epsilon = 0.25


def smoke(config: ml_collections.ConfigDict) -> None:
  """Every stage and row, as small as they go; its numbers mean nothing."""
  fast(config)
  cifar10_ga.smoke(config)
