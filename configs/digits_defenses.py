"""Attacks by defences on scikit-learn's digits: what each defence gives back.

  pacd run --config=configs/digits_defenses.py
  pacd run --config=configs/digits_defenses.py:smoke     for tests

The victims, the points and the attack `pacd` are those of `configs/digits_ga.py`, at
epsilon 0.1. Filters remove 5 % of each class, `spectral_signatures` 15 %, `deep_knn` and
`activation_clustering` what is over their thresholds; transforms change training images
alone, and stand as `jpeg_inside` and its like in the classifier that is certified.
`weight_decay` is chosen on each row's own data; the ball of `smoothadv` and `trades` has
the radius of `configs/digits_smoothadv.py`, and victims of `trades` see no noise.
`adaptive` rows are attacks that know the defence of their line: a transform or a mixing in
both levels, the threshold of `l2` or `slab`, or for `unshift` the class's mean. `recovery`,
`unshift`, `denoise` and `early_stopping` use trusted images: 20 epochs on the clean split,
20 images of each class, the validation split, and the class's validation images.

This matrix of ACRs has not been run as a whole yet, on two cores or elsewhere.
"""

import ml_collections

from configs import defenses, digits_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: that of `digits_ga`, such as "smoke" or "sigma=0.5"."""
  base = digits_ga.get_config(variant)
  items = variant.split(",")
  base.rows = ("clean", "classwise", "brightness", "error_minimizing", "pacd")
  known = {name: defenses.on_images(name) for name in defenses.FILTERS}
  known |= {
    "jpeg": defenses.on_images("jpeg"),
    "bit_depth": defenses.on_images("bit_depth"),
    "blur": defenses.on_images("blur", sigma=0.5),
    "denoise": defenses.on_images("denoise"),
    "jpeg_inside": defenses.inside("jpeg"),
    "bit_depth_inside": defenses.inside("bit_depth"),
    "blur_inside": defenses.inside("blur", sigma=0.5),
    "denoise_inside": defenses.inside("denoise"),
    "mixup": {"train.mix": "mixup"},
    "cutmix": {"train.mix": "cutmix"},
    "cutout": {"train.augment": "cutout", "train.cutout.size": 3},
    "weight_decay": {"train.weight_decay_choices": defenses.WEIGHT_DECAYS},
    **defenses.adversarial(0.25, 10),
    "dp_sgd": {"train.clip_norm": 1.0, "train.noise_multiplier": 0.01},
    "early_stopping": {"train.stopping.every": 10},
    "recovery": {"train.recovery_epochs": 20},
    "unshift": defenses.on_images("unshift"),
  }
  known_of = ("jpeg", "jpeg_inside", "blur", "mixup", "cutmix", "l2", "slab")
  adaptive = dict.fromkeys(known_of, defenses.KNOWS)
  adaptive["unshift"] = defenses.KEEPS_MEAN
  attacks = {"pacd_per_image": {"attack.num_shared_steps": 0}}
  if "smoke" in items:  # One of each kind, and a network that compiles in a moment.
    base.model.name = "linear"
    base.rows = ("clean", "brightness", "pacd")
    known = {name: known[name] for name in ("l2", "jpeg", "mixup", "unshift")}
    adaptive, attacks = {"jpeg": defenses.KNOWS}, {}
  return defenses.get_config(base, attacks=attacks, defenses=known, adaptive=adaptive)
