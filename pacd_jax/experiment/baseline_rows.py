"""The rows whose poison needs no bilevel solve, each a function of the config's values."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pacd_jax import errors, types
from pacd_jax.attacks import baselines
from pacd_jax.attacks.error_minimizing import error_minimizing
from pacd_jax.attacks.targeted_adversarial import targeted_adversarial
from pacd_jax.data import arrays
from pacd_jax.experiment import assembly, targets
from pacd_jax.runtime import metrics, progress


def check(config: dict[str, Any], splits: types.Splits) -> None:
  """Raises `errors.InputError` if there is no class so far behind the target."""
  shift, most = config["targeted_adversarial"]["shift"], splits.num_classes - 1
  if shift > most:
    raise errors.InputError(
      f"config field targeted_adversarial.shift is {shift}, but {splits.name} has "
      f"{splits.num_classes} classes: use at most {most}"
    )


def attacks(
  config: dict[str, Any],
  splits: types.Splits,
  model: types.Model,
  keys: dict[str, types.Key],
) -> dict[str, Callable[[], np.ndarray]]:
  """Row -> the poisoned images before rounding; `keys` has one for each row that draws."""
  target = config["data"]["target_class"]

  def plain(row, make, **options):
    def run():
      drawn = (keys[row],) if row in keys else ()
      images = make(splits.train, target, *drawn, **options, **assembly.budget(config))
      of_class = arrays.class_indices(splits.train, target)
      return images[np.isin(of_class, targets.poisoned(config, splits))]

    return run

  def trained(row, make, total, unit, **options):
    def run():
      return make(
        assembly.attack_settings(config, model),
        targets.attack_data(config, splits),
        keys[row],
        _watch(row, total, unit),
        **options,
      )

    return run

  by_turns = config["error_minimizing"]
  targeted = dict(config["targeted_adversarial"])
  label = (target + targeted.pop("shift")) % splits.num_classes
  num_steps = targeted["warmup_steps"] + targeted["num_steps"]
  return {
    "watermark": plain("watermark", baselines.watermark, **config["watermark"]),
    "classwise": plain("classwise", baselines.classwise),
    "random": plain("random", baselines.random),
    "brightness": plain("brightness", baselines.brightness),
    "convolution": plain("convolution", baselines.convolution, **config["convolution"]),
    "error_minimizing": trained(
      "error_minimizing", error_minimizing, by_turns["num_rounds"], "rounds", **by_turns
    ),
    "targeted_adversarial": trained(
      "targeted_adversarial",
      targeted_adversarial,
      num_steps,
      "steps",
      label=label,
      **targeted,
    ),
  }


def _watch(row: str, total: int, unit: str) -> Callable[[int, types.Aux], None]:
  """Checks that losses are finite, and shows how far the row's attack is."""
  stage = f"attack/{row}"
  shown = progress.Progress(stage, total, unit=unit)

  def on_part(done, values):
    values = {name: float(value) for name, value in values.items()}
    metrics.check_finite(stage, done, values)
    shown.update(done, f"loss {values['loss']:.4g}")

  return on_part
