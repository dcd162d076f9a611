"""MACER on MNIST."""

import ml_collections

from configs import base, mnist_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", fields such as "sigma=0.5"; commas between several."""
  config = mnist_ga.get_config()
  config.attack.loss = "macer"
  config.attack.macer.num_noise_samples = 2
  config.attack.macer.lam = 1.0
  config.train.loss = "macer"
  config.train.macer.num_noise_samples = 16
  config.train.macer.lam = 16.0
  base.apply_variant(config, variant, {"fast": fast, "smoke": smoke})
  return config


def fast(config: ml_collections.ConfigDict) -> None:
  """For two cores and no GPU."""
  mnist_ga.fast(config)
  config.attack.macer.lam = 4.0
  config.train.macer.num_noise_samples = 4


def smoke(config: ml_collections.ConfigDict) -> None:
  """Every stage and row, as small as they go; its numbers mean nothing."""
  fast(config)
  mnist_ga.smoke(config)
  config.train.macer.num_noise_samples = 2
