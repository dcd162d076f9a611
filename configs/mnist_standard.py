"""Standard training on MNIST."""

import ml_collections

from configs import base, mnist_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", fields such as "sigma=0.5"; commas between several."""
  config = mnist_ga.get_config()
  config.attack.loss = "standard"
  config.attack.objective = "accuracy"
  config.train.loss = "standard"
  base.apply_variant(config, variant, {"fast": mnist_ga.fast, "smoke": mnist_ga.smoke})
  return config
