"""Attacks by defences on CIFAR-10: what each defence gives back.

  pacd run --config=configs/cifar10_defenses.py:fast --config.data.data_dir=FOLDER
  pacd run --config=configs/cifar10_defenses.py:smoke     for tests

The victims, the points and the attack are those of `configs/cifar10_ga.py`, at epsilon
0.03; see `configs/digits_defenses.py` for the defences. Without a variant it is the paper's
scale, for accelerators. This matrix of ACRs has not been run as a whole yet, on two cores
or elsewhere.
"""

import ml_collections

from configs import cifar10_ga, defenses


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: that of `cifar10_ga`, such as "fast", "smoke" or "sigma=0.5"."""
  more = {"grayscale": defenses.on_images("grayscale")}
  return defenses.of_large_images(cifar10_ga.get_config(variant), variant, more, most=0.03)
