"""All attack rows once on CIFAR-10: what victims keep, what its attacker gets.

  pacd run --config=configs/cifar10_attacks.py:fast --config.data.data_dir=FOLDER
  pacd run --config=configs/cifar10_attacks.py:smoke     for tests

The victims, the points and the budget are those of `configs/cifar10_ga.py`. Without a
variant it is the paper's scale, for accelerators. This table of ACRs has not been run as a
whole yet, on two cores or elsewhere.
"""

import ml_collections

from configs import attacks, cifar10_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: that of `cifar10_ga`, such as "fast", "smoke" or "sigma=0.5"."""
  return attacks.get_config(cifar10_ga.get_config(variant), variant, target=0)
