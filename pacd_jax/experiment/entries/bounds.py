"""Losses and an attacker's objective on certified margins, by interval and linear bounds.

The balls are those of the loss's adversary: `train.adversary` and `attack.adversary`.
"""

import dataclasses

from pacd_jax.attacks import objectives
from pacd_jax.bounds import linear, margins, training
from pacd_jax.experiment import fields, kinds

_BOX = "Whether an l_inf ball is cut with [0, 1]; an l2 ball is not."
_SHARE = fields.interval("[0, 1]")
_SLOPES = fields.one_of(*linear.SLOPES)


@dataclasses.dataclass(frozen=True)
class Ibp:
  """The options of `ibp`."""

  kappa: float = fields.field(
    0.5, _SHARE, "Weight of the clean images' term at the whole radius; before, it falls."
  )
  box: bool = fields.field(True, fields.flag(), _BOX)


@dataclasses.dataclass(frozen=True)
class CrownIbp(Ibp):
  """The options of `crown_ibp`."""

  beta: float = fields.field(
    0.0, _SHARE, "Weight of linear bounds at the whole radius; before, it falls from 1."
  )
  slopes: str = fields.field("adaptive", _SLOPES, "Lower lines of ReLU in linear bounds.")


@dataclasses.dataclass(frozen=True)
class CertifiedMargin:
  """The options of `certified_margin`."""

  method: str = fields.field(
    "ibp", fields.one_of(*margins.METHODS), "Bounds that give the margins."
  )
  slopes: str = fields.field("adaptive", _SLOPES, "Lower lines of ReLU in linear bounds.")
  box: bool = fields.field(True, fields.flag(), _BOX)
  shape: str = fields.field(
    "softplus", fields.one_of(*objectives.SHAPES), "What is averaged of an image's margin."
  )


def _ibp(tools: kinds.LossTools, options: Ibp):
  ball = {"epsilon": tools.attack.epsilon, "norm": tools.attack.norm}
  return training.ibp(tools.model, **ball, **dataclasses.asdict(options))


def _crown_ibp(tools: kinds.LossTools, options: CrownIbp):
  ball = {"epsilon": tools.attack.epsilon, "norm": tools.attack.norm}
  return training.crown_ibp(tools.model, **ball, **dataclasses.asdict(options))


def _certified_margin(tools: kinds.ObjectiveTools, options: CertifiedMargin):
  ball = {"epsilon": tools.attack.epsilon, "norm": tools.attack.norm}
  return objectives.certified_margin(tools.model, **ball, **dataclasses.asdict(options))


for _name, _make, _words, _options in (
  ("ibp", _ibp, "interval bound propagation (Gowal et al., 2018)", Ibp),
  ("crown_ibp", _crown_ibp, "CROWN-IBP (Zhang et al., 2020)", CrownIbp),
):
  kinds.LOSSES.add(
    kinds.Loss(
      _name,
      _make,
      _words,
      options=_options,
      has_adversary=True,
      is_mean=True,
      needs_bounds=True,
    )
  )

kinds.OBJECTIVES.add(
  kinds.Objective(
    "certified_margin",
    _certified_margin,
    "the mean certified margin, by bounds on the ball of attack.adversary",
    options=CertifiedMargin,
    row_words="the attack on certified margins: bilevel optimisation finds the change of "
    "the images after which the bounds of a classifier trained on them certify the least.",
  )
)
