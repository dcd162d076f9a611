"""Attacks by defences on MNIST: what each defence gives back.

  pacd run --config=configs/mnist_defenses.py:fast --config.data.data_dir=FOLDER
  pacd run --config=configs/mnist_defenses.py:smoke     for tests

The victims, the points and the attack are those of `configs/mnist_ga.py`, at epsilon
0.1; see `configs/digits_defenses.py` for the defences. Without a variant it is the paper's
scale, for accelerators. This matrix of ACRs has not been run as a whole yet, on two cores
or elsewhere.
"""

import ml_collections

from configs import defenses, mnist_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: that of `mnist_ga`, such as "fast", "smoke" or "sigma=0.5"."""
  more = {"blur": defenses.on_images("blur")}
  return defenses.of_large_images(mnist_ga.get_config(variant), variant, more)
