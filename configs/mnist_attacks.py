"""All attack rows once on MNIST: what victims keep, what its attacker gets.

  pacd run --config=configs/mnist_attacks.py:fast --config.data.data_dir=FOLDER
  pacd run --config=configs/mnist_attacks.py:smoke     for tests

The victims, the points and the budget of 0.1 are those of `configs/mnist_ga.py`. Without a
variant it is the paper's scale, for accelerators. This table of ACRs has not been run as a
whole yet, on two cores or elsewhere.
"""

import ml_collections

from configs import attacks, mnist_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: that of `mnist_ga`, such as "fast", "smoke" or "sigma=0.5"."""
  return attacks.get_config(mnist_ga.get_config(variant), variant, target=0)
