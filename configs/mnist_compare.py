"""Attacks side by side on MNIST: ACR against time and epsilon.

  pacd compare --config=configs/mnist_compare.py \\
      --config.data.data_dir=FOLDER
  pacd compare --config=configs/mnist_compare.py:fast     two cores, no GPU
  pacd compare --config=configs/mnist_compare.py:smoke    for tests

The victims, the attack and the points are those of `configs/mnist_ga.py`, except that
every attack has five victims in `:fast`, too. Leave an attack out by
--config.attacks.watermark.row= and choose the budgets by --config.epsilons="(0.1,)".

Expected of `:fast` with --config.base.certify.n=1000, without watermark, random,
targeted_adversarial and pacd_ensemble, seed 0, on two cores in 105 minutes with many other
programs running; ACR of class 8, mean and standard deviation over five victims, 200 test
points, alpha = 0.001; and the ACR under PACD minus that under each attack, paired by the
victims' seeds, mean and standard error:

                    epsilon 0.05                        epsilon 0.1
  clean             0.554 +- 0.025                      0.554 +- 0.025
  classwise         0.444 +- 0.103  -0.050 +- 0.021     0.118 +- 0.084  -0.005 +- 0.010
  brightness        0.415 +- 0.096  -0.020 +- 0.007     0.120 +- 0.077  -0.006 +- 0.045
  convolution       0.466 +- 0.088  -0.071 +- 0.018     0.257 +- 0.127  -0.144 +- 0.068
  error_minimizing  0.478 +- 0.054  -0.084 +- 0.025     0.301 +- 0.105  -0.188 +- 0.022
  pacd              0.395 +- 0.106                      0.114 +- 0.084

PACD's poisons took 17 and 21 minutes there: a quarter of it is the attack, the rest the
selection among six candidates. It chose the corners from brightness at 0.05, and the last
step from the class-wise shift at 0.1. So at 0.05 PACD is stronger than every other attack
here by more than the standard error of the difference; at 0.1 it is as strong as the two
best shifts, where victims differ by 0.08 between seeds with any of these three attacks.
"""

import ml_collections

from configs import authors, comparisons, mnist_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: that of `mnist_ga`, such as "fast", "smoke" or "sigma=0.5"."""
  base = mnist_ga.get_config(variant)
  items = variant.split(",")
  if "smoke" not in items and not any("train.num_victims=" in item for item in items):
    base.train.num_victims = 5
  ensemble = {
    "attack.num_surrogates": 4,
    "attack.surrogates_at_once": 1,
    "attack.normalize": True,
    "attack.damping": 0.1,
  }
  if "smoke" not in items:
    ensemble |= {
      "attack.num_steps": 150,
      "attack.num_shared_steps": 150,
      "attack.selection.every": 150,
      "attack.starts": ("classwise", "brightness"),
    }
  return comparisons.get_config(
    base,
    variant,
    epsilons=(0.05, 0.1),
    variants={
      "pacd": {},
      "pacd_authors": authors.overrides(base, variant),
      "pacd_ensemble": ensemble,
    },
  )
