"""Training sets by name, `rows`: the attack that makes each, its words and line style."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from pacd_jax import errors, types
from pacd_jax.attacks import baselines
from pacd_jax.attacks.error_minimizing import error_minimizing
from pacd_jax.attacks.targeted_adversarial import targeted_adversarial
from pacd_jax.data import arrays
from pacd_jax.experiment import fields, kinds

# Okabe and Ito's colours, safe for colour-blind readers, and dashes for print.
_BLUE, _ORANGE, _GREEN, _RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
_BLACK, _PINK = "#000000", "#CC79A7"
SHARE = fields.interval("(0, 2]")


@dataclasses.dataclass(frozen=True)
class Watermark:
  """The options of `watermark`."""

  opacity: float = fields.field(
    0.1, fields.interval("(0, 1]"), "Of the image that is blended in."
  )


@dataclasses.dataclass(frozen=True)
class Convolution:
  """The options of `convolution`."""

  kernel_size: int = fields.field(9, fields.count(most=99), "Pixels on a side.")
  blur: float = fields.field(
    1.0, fields.above_zero(), "Largest entry of the filter beside the one of 1."
  )


@dataclasses.dataclass(frozen=True)
class ErrorMinimizing:
  """The options of `error_minimizing`."""

  num_rounds: int = fields.field(200, fields.count(), "Turns of surrogate and poison.")
  surrogate_steps: int = fields.field(
    5, fields.count(), "Adam steps of a round, on a poisoned surrogate."
  )
  poison_steps: int = fields.field(
    2, fields.count(), "Steps of each perturbation in a round."
  )
  step_size: float = fields.field(0.1, SHARE, "Of these, as a share of epsilon.")
  shared: bool = fields.field(
    True, fields.flag(), "One perturbation for the class, or one for each image."
  )


@dataclasses.dataclass(frozen=True)
class TargetedAdversarial:
  """The options of `targeted_adversarial`."""

  shift: int = fields.field(
    1, fields.count(), "Towards class target_class + shift, modulo their number."
  )
  warmup_steps: int = fields.field(
    1000, fields.count(), "Adam steps of the clean surrogate."
  )
  num_steps: int = fields.field(250, fields.count(), "Steps of each perturbation.")
  step_size: float = fields.field(
    0.1, SHARE, "Of the first of these, as a share of epsilon; it falls to 0."
  )
  shared: bool = fields.field(
    False, fields.flag(), "One perturbation for the class, or one for each image."
  )


def plain(make: Callable[..., np.ndarray], *, draws: bool = False):
  """The `make` of a baseline that sees the training split alone."""

  def run(tools: kinds.RowTools, options: Any) -> np.ndarray:
    drawn = (tools.key,) if draws else ()
    more = {} if options is None else dataclasses.asdict(options)
    images = make(
      tools.splits.train,
      tools.target_class,
      *drawn,
      epsilon=tools.epsilon,
      norm=tools.norm,
      **more,
    )
    of_class = arrays.class_indices(tools.splits.train, tools.target_class)
    return images[np.isin(of_class, tools.poisoned)]

  return run


def _error_minimizing(tools: kinds.RowTools, options: ErrorMinimizing) -> np.ndarray:
  return error_minimizing(
    tools.attack_settings(),
    tools.attack_data(),
    tools.key,
    tools.watch(options.num_rounds, "rounds"),
    **dataclasses.asdict(options),
  )


def _targeted_adversarial(
  tools: kinds.RowTools, options: TargetedAdversarial
) -> np.ndarray:
  label = (tools.target_class + options.shift) % tools.splits.num_classes
  return targeted_adversarial(
    tools.attack_settings(),
    tools.attack_data(),
    tools.key,
    tools.watch(options.warmup_steps + options.num_steps, "steps"),
    label=label,
    warmup_steps=options.warmup_steps,
    num_steps=options.num_steps,
    step_size=options.step_size,
    shared=options.shared,
  )


def _check_shift(options: TargetedAdversarial, splits: types.Splits) -> None:
  most = splits.num_classes - 1
  if options.shift > most:
    raise errors.InputError(
      f"config field targeted_adversarial.shift is {options.shift}, but {splits.name} has "
      f"{splits.num_classes} classes: use at most {most}"
    )


kinds.ROWS.add(
  kinds.Row(types.CLEAN, None, "the training images as they are.", kinds.Style(_BLUE))
)
for _row in (
  kinds.Row(
    "watermark",
    plain(baselines.watermark, draws=True),
    "an image of another class faintly blended into each target image.",
    kinds.Style(_ORANGE, (0, (5, 2))),
    options=Watermark,
    stream=1,
  ),
  kinds.Row(
    "classwise",
    plain(baselines.classwise),
    "all target images shifted alike, towards the other classes' mean.",
    kinds.Style(_GREEN, (0, (5, 1.5, 1, 1.5))),
  ),
  kinds.Row(
    "random",
    plain(baselines.random, draws=True),
    "one random pattern added to all target images.",
    kinds.Style(_BLACK, (0, (1, 2))),
    stream=4,
  ),
  kinds.Row(
    "brightness",
    plain(baselines.brightness),
    "all target images brighter by the same amount.",
    kinds.Style(_PINK, (0, (1, 1))),
  ),
  kinds.Row(
    "convolution",
    plain(baselines.convolution, draws=True),
    "all target images under one random filter (CUDA).",
    kinds.Style(_GREEN, (0, (8, 2))),
    options=Convolution,
    stream=5,
  ),
  kinds.Row(
    "error_minimizing",
    _error_minimizing,
    "error-minimising noise: the change that leaves a robust surrogate "
    "the least to learn of the class (SEM).",
    kinds.Style(_ORANGE, (0, (3, 1, 1, 1))),
    options=ErrorMinimizing,
    stream=6,
    trains_surrogate=True,
  ),
  kinds.Row(
    "targeted_adversarial",
    _targeted_adversarial,
    "adversarial examples: a clean robust surrogate takes the target "
    "images for another class (TAP).",
    kinds.Style(_BLUE, (0, (5, 1, 1, 1, 1, 1))),
    options=TargetedAdversarial,
    stream=7,
    trains_surrogate=True,
    check=_check_shift,
  ),
):
  kinds.ROWS.add(_row)
kinds.ROWS.add(
  kinds.Row(
    types.PACD,
    None,
    "the attack: bilevel optimisation finds the change of the images, shared by the "
    "class or each image's own, after which a classifier trained on them has a small "
    "certified radius (Algorithm 1).",
    kinds.Style(_RED),
    stream=0,
    trains_surrogate=True,
  )
)
