"""Code shared by all matrices of defences: the base, the attacks, and the defences.

Not an experiment by itself.
"""

from collections.abc import Mapping
from typing import Any

import ml_collections

from pacd_jax.experiment import schema

FILTERS = (
  "l2",
  "slab",
  "loss",
  "knn",
  "svd",
  "deep_knn",
  "spectral_signatures",
  "activation_clustering",
)
TRANSFORMS = ("jpeg", "bit_depth", "blur", "denoise")  # Also `grayscale`, for colours.
# The attack that knows a transform of training images or inside the classifier, a mixing,
# or the threshold of filter `l2` or `slab`.
KNOWS: dict[str, Any] = {"attack.knows_defense": True}
# The attack that leaves the class's mean where trusted images have it.
KEEPS_MEAN: dict[str, Any] = {
  "attack.zero_mean": True,
  "attack.num_shared_steps": 0,
  "attack.starts": ("clean",),
  "attack.selection.corners": False,
}

WEIGHT_DECAYS = (0.0, 0.01, 0.1, 1.0)

# Fields of a run that a matrix sets: they are not its base's.
_OWN = ("poisons", "data.data_dir")


def on_images(name: str, **options: Any) -> dict[str, Any]:
  """The fields of one defence of the training images, with its options."""
  fields = {f"defense.{name}.{option}": value for option, value in options.items()}
  return {"defense.chain": (name,)} | fields


def inside(name: str, **options: Any) -> dict[str, Any]:
  """The fields of one transform inside the classifier that is certified."""
  fields = {f"defense.{name}.{option}": value for option, value in options.items()}
  return {"defense.inside": (name,)} | fields


def adversarial(radius: float, warmup: int) -> dict[str, dict[str, Any]]:
  """Adversarial training of victims in an l2 ball: SmoothAdv, and TRADES without noise.

  Args:
    radius: of the ball, image units.
    warmup: epochs until SmoothAdv's is whole.
  """
  ball = {"train.adversary.epsilon": radius}
  return {
    "smoothadv": ball | {"train.loss": "smoothadv", "train.adversary.warmup": warmup},
    "trades": ball | {"train.loss": "trades"},
  }


def get_config(
  base: ml_collections.ConfigDict,
  *,
  attacks: Mapping[str, Mapping[str, Any]],
  defenses: Mapping[str, Mapping[str, Any]],
  adaptive: Mapping[str, Mapping[str, Any]],
) -> ml_collections.ConfigDict:
  """A matrix of the base's rows and further attacks, by defences.

  Args:
    base: of every run, with its variant applied; its rows are clean and attacks.
    attacks: PACD by name, each with the fields that differ from the base, such as
      `{"attack.num_shared_steps": 0}`.
    defenses: the fields that each defence sets, such as `{"defense.chain": ("l2",)}`.
    adaptive: fields of the attack that knows a defence, by the defence's name.
  """
  for name in _OWN:
    group, _, field = name.rpartition(".")
    del (base[group] if group else base)[field]
  config = ml_collections.ConfigDict({"base": base})
  config.attacks = {
    name: {"overrides": schema.nested(overrides)} for name, overrides in attacks.items()
  }
  config.defenses = {
    name: {"overrides": schema.nested(overrides)} for name, overrides in defenses.items()
  }
  for name, overrides in adaptive.items():
    config.defenses[name].adaptive = ml_collections.ConfigDict(schema.nested(overrides))
  config.data = {"data_dir": ""}  # Of every run.
  return config


def of_large_images(
  base: ml_collections.ConfigDict,
  variant: str,
  more: Mapping[str, Mapping[str, Any]],
  **unshift: Any,
) -> ml_collections.ConfigDict:
  """The matrix of MNIST and of CIFAR-10: three rows by six defences on two cores.

  Args:
    base: of every run, with its variant applied.
    variant: of the base; "fast" has five victims, and "smoke" two defences. Without these,
      on accelerators, there are also transforms inside the classifier, weight decay chosen
      on the poisoned data, adversarial training, and the attack that knows CutMix.
    more: a defence of these images alone.
    **unshift: options of that defence.
  """
  items = variant.split(",")
  base.rows = ("clean", "brightness", "pacd")
  if "fast" in items and not any("train.num_victims=" in item for item in items):
    base.train.num_victims = 5
  known = {
    "l2": on_images("l2"),
    "spectral_signatures": on_images("spectral_signatures"),
    "jpeg": on_images("jpeg"),
    **more,
    "cutmix": {"train.mix": "cutmix"},
    "unshift": on_images("unshift", **unshift),
  }
  adaptive = {"jpeg": KNOWS, "unshift": KEEPS_MEAN}
  if "smoke" in items:
    known, adaptive = {name: known[name] for name in ("l2", "unshift")}, {}
    base.train.batch_size = 100  # What a filter leaves of a smoke's images has one batch.
  elif "fast" not in items:
    known |= {f"{name}_inside": inside(name) for name in ("bit_depth", "blur", "denoise")}
    known["weight_decay"] = {"train.weight_decay_choices": WEIGHT_DECAYS}
    known |= adversarial(1.0, 10)
    adaptive["cutmix"] = KNOWS
  return get_config(base, attacks={}, defenses=known, adaptive=adaptive)
