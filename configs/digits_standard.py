"""Standard training on scikit-learn's digits."""

import ml_collections

from configs import base, digits_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "smoke", or fields such as "sigma=0.5", separated by commas."""
  config = digits_ga.get_config("eps02")
  config.attack.loss = "standard"
  config.attack.objective = "accuracy"
  config.train.loss = "standard"
  base.apply_variant(config, variant, {"smoke": digits_ga.smoke})
  return config
