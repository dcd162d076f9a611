"""Losses, an attacker's objective and certificates by interval and linear bounds.

The balls of losses and of the objective are those of `train.adversary` and
`attack.adversary`; the certificates' are those of their own options.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from pacd_jax.attacks import objectives
from pacd_jax.bounds import linear, margins, training, verify
from pacd_jax.experiment import fields, kinds
from pacd_jax.experiment.entries import procedures

_BOX = "Whether an l_inf ball is cut with [0, 1]; an l2 ball is not."
_LINES = "Lower lines of ReLU in linear bounds."
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
  slopes: str = fields.field("adaptive", _SLOPES, _LINES)


@dataclasses.dataclass(frozen=True)
class CertifiedMargin:
  """The options of `certified_margin`."""

  method: str = fields.field(
    "ibp", fields.one_of(*margins.METHODS), "Bounds that give the margins."
  )
  slopes: str = fields.field("adaptive", _SLOPES, _LINES)
  box: bool = fields.field(True, fields.flag(), _BOX)
  shape: str = fields.field(
    "softplus", fields.one_of(*objectives.SHAPES), "What is averaged of an image's margin."
  )


@dataclasses.dataclass(frozen=True)
class Intervals(procedures.Balls):
  """The options of the procedure `ibp`."""

  box: bool = fields.field(True, fields.flag(), _BOX)

  def further(self) -> dict[str, Any]:
    return super().further() | {"box": self.box and self.norm == "linf"}


@dataclasses.dataclass(frozen=True)
class Lines(Intervals):
  """The options of the procedures `crown_ibp` and `crown`."""

  slopes: str = fields.field("adaptive", _SLOPES, _LINES)


def _on_ball(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
  """The function on the ball of the tools' attack."""

  def make(tools: kinds.LossTools | kinds.ObjectiveTools, options: Any):
    ball = {"epsilon": tools.attack.epsilon, "norm": tools.attack.norm}
    return function(tools.model, **ball, **dataclasses.asdict(options))

  return make


for _name, _function, _words, _options in (
  ("ibp", training.ibp, "interval bound propagation (Gowal et al., 2018)", Ibp),
  ("crown_ibp", training.crown_ibp, "CROWN-IBP (Zhang et al., 2020)", CrownIbp),
):
  kinds.LOSSES.add(
    kinds.Loss(
      _name,
      _on_ball(_function),
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
    _on_ball(objectives.certified_margin),
    "the mean certified margin, by bounds on the ball of attack.adversary",
    options=CertifiedMargin,
    lowers_radii=True,
    row_words="the attack on certified margins: bilevel optimisation finds the change of "
    "the images after which the bounds of a classifier trained on them certify the least.",
  )
)


def _procedure(method: str, options: type, words: str) -> None:
  def make_verify(tools: kinds.ProcedureTools, options: Any):
    slopes = getattr(options, "slopes", "zero")  # Intervals have none.
    return verify.make(
      tools.model, norm=options.norm, method=method, slopes=slopes, box=options.box
    )

  kinds.PROCEDURES.add(
    procedures.verifying(
      method, make_verify, words, options=options, objective="certified_margin"
    )
  )


_procedure("ibp", Intervals, "interval bounds (Gowal et al., 2018)")
_procedure("crown_ibp", Lines, "linear bounds on interval bounds, or the latter if better")
_procedure("crown", Lines, "linear bounds on linear bounds (Zhang et al., 2018), slow")
