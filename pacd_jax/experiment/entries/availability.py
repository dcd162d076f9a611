"""Availability attacks of others at the run's budget, as rows beside the baselines."""

import dataclasses

import numpy as np

from pacd_jax.attacks.autoregressive import ar
from pacd_jax.attacks.deferred import deferred
from pacd_jax.attacks.hypocritical import hypocritical
from pacd_jax.attacks.robust_error_minimizing import robust_error_minimizing
from pacd_jax.attacks.separable_patterns import lsp
from pacd_jax.experiment import fields, kinds
from pacd_jax.experiment.entries import rows

_WINE = "#882255"  # Of Tol's colours, which are safe for colour-blind readers.
_RADIUS = fields.interval("[0, 2]")


@dataclasses.dataclass(frozen=True)
class Lsp:
  """The options of `lsp`."""

  num_patches: int = fields.field(
    4, fields.count(most=1000), "Blocks along each side, at most one for each pixel."
  )
  class_sep: float = fields.field(
    10.0, fields.at_least_zero(), "Of the class's pattern, over the images' own noise."
  )


@dataclasses.dataclass(frozen=True)
class Ar:
  """The options of `ar`."""

  crop: int = fields.field(
    4, fields.count(most=100), "Rows and columns that are made and cut off first."
  )


@dataclasses.dataclass(frozen=True)
class RobustErrorMinimizing(rows.ErrorMinimizing):
  """The options of `robust_error_minimizing`: those of `error_minimizing`, and two."""

  adversary_radius: float = fields.field(
    0.5, _RADIUS, "rho_a, of the surrogate's adversary, as a share of epsilon."
  )
  adversary_steps: int = fields.field(10, fields.count(most=1000), "Of that adversary.")


@dataclasses.dataclass(frozen=True)
class Hypocritical:
  """The options of `hypocritical`."""

  warmup_steps: int = fields.field(
    1000, fields.count(), "Adam steps of the crafting model on clean data."
  )
  crafting_radius: float = fields.field(
    0.25, _RADIUS, "Of that model's adversary, as a share of epsilon; 0: none."
  )
  crafting_steps: int = fields.field(10, fields.count(most=1000), "Of that adversary.")
  num_steps: int = fields.field(100, fields.count(), "Steps of each perturbation.")
  step_size: float = fields.field(
    0.1, rows.SHARE, "Of the first of these, as a share of epsilon; it falls to 0."
  )
  shared: bool = fields.field(
    False, fields.flag(), "One perturbation for the class, or one for each image."
  )


@dataclasses.dataclass(frozen=True)
class Deferred(rows.ErrorMinimizing):
  """The options of `deferred`: those of `error_minimizing`, and the term's weight."""

  shared: bool = fields.field(
    False, fields.flag(), "One perturbation for the class, or one for each image."
  )
  weight: float = fields.field(
    0.01, fields.at_least_zero(), "lambda, of the squared Hessian in the pixels."
  )


def _robust_error_minimizing(
  tools: kinds.RowTools, options: RobustErrorMinimizing
) -> np.ndarray:
  return robust_error_minimizing(
    tools.attack_settings(),
    tools.attack_data(),
    tools.key,
    tools.watch(options.num_rounds, "rounds"),
    **dataclasses.asdict(options),
  )


def _hypocritical(tools: kinds.RowTools, options: Hypocritical) -> np.ndarray:
  return hypocritical(
    tools.attack_settings(),
    tools.attack_data(),
    tools.key,
    tools.watch(options.warmup_steps + options.num_steps, "steps"),
    **dataclasses.asdict(options),
  )


def _deferred(tools: kinds.RowTools, options: Deferred) -> np.ndarray:
  return deferred(
    tools.attack_settings(),
    tools.attack_data(),
    tools.key,
    tools.watch(options.num_rounds, "rounds"),
    **dataclasses.asdict(options),
  )


for _row in (
  kinds.Row(
    "lsp",
    rows.plain(lsp, draws=True),
    "a pattern of blocks added to each target image, much the same in all of them (LSP).",
    kinds.Style(_WINE, (0, (5, 2))),
    options=Lsp,
  ),
  kinds.Row(
    "ar",
    rows.plain(ar, draws=True),
    "a pattern of one autoregressive process added to each target image (AR).",
    kinds.Style(_WINE, (0, (1, 1))),
    options=Ar,
  ),
  kinds.Row(
    "robust_error_minimizing",
    _robust_error_minimizing,
    "error-minimising noise for a surrogate whose images are attacked, too (REM).",
    kinds.Style(_WINE, (0, (3, 1, 1, 1))),
    options=RobustErrorMinimizing,
    trains_surrogate=True,
    takes_adversary=False,
  ),
  kinds.Row(
    "hypocritical",
    _hypocritical,
    "hypocritical perturbations: a clean, adversarially trained surrogate is surer of the "
    "target images than it should be.",
    kinds.Style(_WINE, (0, (5, 1, 1, 1, 1, 1))),
    options=Hypocritical,
    trains_surrogate=True,
    takes_adversary=False,
  ),
  kinds.Row(
    "deferred",
    _deferred,
    "deferred poisoning: error-minimising noise for a surrogate whose loss is sharply "
    "curved at the target images.",
    kinds.Style(_WINE, (0, (8, 2))),
    options=Deferred,
    trains_surrogate=True,
    takes_adversary=False,
  ),
):
  kinds.ROWS.add(_row)
