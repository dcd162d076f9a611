"""Standard training on CIFAR-10."""

import ml_collections

from configs import base, cifar10_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", fields such as "sigma=0.5"; commas between several."""
  config = cifar10_ga.get_config()
  config.attack.loss = "standard"
  config.attack.objective = "accuracy"
  config.train.loss = "standard"
  base.apply_variant(config, variant, {"fast": cifar10_ga.fast, "smoke": cifar10_ga.smoke})
  return config
