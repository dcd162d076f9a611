"""Attacks side by side on CIFAR-10: ACR against time and epsilon.

  pacd compare --config=configs/cifar10_compare.py:paper \\
      --config.data.data_dir=FOLDER
  pacd compare --config=configs/cifar10_compare.py:fast      10,000 images, a small CNN
  pacd compare --config=configs/cifar10_compare.py:smoke     for tests

The victims, the attack and the points are those of `configs/cifar10_ga.py`: every baseline
of the package, PACD as its authors' code runs it, and the package's own. In `:fast` every
attack has five victims. Leave an attack out by --config.attacks.watermark.row= and choose
the budgets by --config.epsilons="(0.03,)".

This comparison has not been run as a whole yet, on two cores or elsewhere. Single
runs of `:fast` at epsilon 0.03 gave an ACR of 0.304 +- 0.075 clean, 0.188 classwise, 0.375
and 0.254 brightness (two victims), 0.39 random (one) and 0.026 pacd.
"""

import ml_collections

from configs import authors, cifar10_ga, comparisons


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: that of `cifar10_ga`, such as "paper", "fast", "smoke" or "sigma=0.5"."""
  base = cifar10_ga.get_config(variant)
  items = variant.split(",")
  if "fast" in items and not any("train.num_victims=" in item for item in items):
    base.train.num_victims = 5
  by_authors = dict(authors.overrides(base, variant))
  if "paper" in items:  # One surrogate's life; all of its steps take many hours.
    by_authors["attack.num_steps"] = by_authors["attack.restart_every"]
  return comparisons.get_config(
    base,
    variant,
    epsilons=(0.015, 0.03),
    variants={"pacd": {}, "pacd_authors": by_authors},
  )
