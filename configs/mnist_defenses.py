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
  base = mnist_ga.get_config(variant)
  base.rows = ("clean", "brightness", "pacd")
  items = variant.split(",")
  if "fast" in items and not any("train.num_victims=" in item for item in items):
    base.train.num_victims = 5
  known = {
    "l2": defenses.on_images("l2"),
    "spectral_signatures": defenses.on_images("spectral_signatures"),
    "jpeg": defenses.on_images("jpeg"),
    "blur": defenses.on_images("blur"),
    "cutmix": {"train.mix": "cutmix"},
    "unshift": defenses.on_images("unshift"),
  }
  adaptive = {"jpeg": defenses.KNOWS, "unshift": defenses.KEEPS_MEAN}
  if "smoke" in items:
    known = {name: known[name] for name in ("l2", "unshift")}
    adaptive = {}
  return defenses.get_config(base, attacks={}, defenses=known, adaptive=adaptive)
