"""Standard training on scikit-learn's digits, and the attack on its accuracy.

  python main.py --config=configs/digits_standard.py
  python main.py --config=configs/digits_standard.py:smoke      a minute, for tests

Table 1 of Mehra et al. (2021), applied to 8x8 images: both levels are cross-entropy
without noise, and the attack maximises the upper one. The rest is as in
configs/digits_ga.py:eps02.

Expected, seed 0, epsilon 0.2, on two cores (no GPU) in 99 s; ACR of class 8, mean and
standard deviation over five victims, n = 10,000, alpha = 0.001, and accuracy over ten
classes:

  clean        0.228 +- 0.009    97.6 %
  watermark    0.197 +- 0.016    97.5 %
  classwise    0.008 +- 0.011    90.2 %
  pacd         0.000 +- 0.000    89.1 %

Noise-free accuracy of the class itself: clean 94.3 %, class-wise 17.1 %, PACD 5.7 %.
"""

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
