"""Dual-manifold adversarial training on scikit-learn's digits, and PACD against it.

python main.py --config=configs/digits_dual_manifold.py:fast
"""

import ml_collections

from configs import base, digits_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", fields such as "sigma=0.5"; commas between several."""
  config = digits_ga.get_config()
  config.attack.selection.corners = False
  dual(config)
  base.apply_variant(config, variant, {"fast": fast, "smoke": smoke})
  return config


def dual(config: ml_collections.ConfigDict) -> None:
  """The loss of both levels, and its adversary of pixels."""
  for training in (config.attack, config.train):
    training.loss = "dual_manifold"
    training.adversary.epsilon = 0.1
    training.adversary.norm = "linf"
    training.adversary.num_steps = 5


def fast(config: ml_collections.ConfigDict) -> None:
  """Fewer victims of fewer epochs."""
  config.train.num_victims = 3
  config.train.num_epochs = 40
  config.train.victims_at_once = 6
  config.attack.num_steps = 200
  config.attack.num_shared_steps = 200


def smoke(config: ml_collections.ConfigDict) -> None:
  """Every stage and row at the smallest size; the numbers mean nothing."""
  digits_ga.smoke(config)
  few_steps(config)


def few_steps(config: ml_collections.ConfigDict) -> None:
  """One step of every adversary, and a VAE of next to no training."""
  config.data.vae.num_epochs = 2
  config.data.vae.width = 8
  for training in (config.attack, config.train):
    training.adversary.num_steps = 1
    training.on_manifold.num_steps = 1
    training.dual_manifold.num_steps = 1
