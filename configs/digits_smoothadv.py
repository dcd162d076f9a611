"""SmoothAdv on scikit-learn's digits."""

import ml_collections

from configs import base, digits_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "smoke", or fields such as "sigma=0.5", separated by commas."""
  config = digits_ga.get_config("eps02")
  attack, train = config.attack, config.train
  attack.loss = "smoothadv"
  attack.adversary.epsilon = 0.25

  train.loss = "smoothadv"
  train.adversary.epsilon = 0.25
  train.adversary.warmup = 10
  base.apply_variant(config, variant, {"smoke": digits_ga.smoke})
  return config
