"""Attacks at test time by name, for `pacd evade` and the paper's Table 5."""

import dataclasses
from typing import Any

from pacd_jax import evasion
from pacd_jax.experiment import fields, kinds

_STEPS = fields.count(most=100_000)


@dataclasses.dataclass(frozen=True)
class Pgd:
  """The options of `pgd`."""

  num_steps: int = fields.field(10, _STEPS, "Each of size 2 epsilon / num_steps.")
  random_start: bool = fields.field(
    False, fields.flag(), "From a uniform draw in the ball, not from the image."
  )


@dataclasses.dataclass(frozen=True)
class OnManifold:
  """The options of `on_manifold`; its authors evaluate with 50 steps."""

  num_steps: int = fields.field(50, _STEPS, "Each of size 2 epsilon / num_steps.")
  random_start: bool = fields.field(
    False, fields.flag(), "From a uniform draw in the ball, not from the latents."
  )


@dataclasses.dataclass(frozen=True)
class CarliniWagner:
  """The options of `cw`; its authors' are 9, 10,000, 0.01, 0.001 and 0."""

  num_searches: int = fields.field(6, fields.count(most=50), "Values of c.")
  num_steps: int = fields.field(200, _STEPS, "Of Adam, at most, for each c.")
  learning_rate: float = fields.field(0.01, fields.above_zero(), "Of Adam.")
  first_c: float = fields.field(0.01, fields.above_zero(), "The first c.")
  confidence: float = fields.field(
    0.0, fields.at_least_zero(), "kappa, the margin of the wrong class, in logits."
  )


def _fgsm(tools: kinds.EvasionTools, options: Any) -> evasion.FastGradient:
  del options
  return evasion.FastGradient(tools.norm, tools.targeted)


def _pgd(tools: kinds.EvasionTools, options: Pgd) -> evasion.ProjectedGradient:
  return evasion.ProjectedGradient(
    tools.norm, tools.targeted, **dataclasses.asdict(options)
  )


def _on_manifold(
  tools: kinds.EvasionTools, options: OnManifold
) -> evasion.ProjectedGradient:
  return evasion.ProjectedGradient(
    tools.norm, tools.targeted, box=False, **dataclasses.asdict(options)
  )


def _cw(tools: kinds.EvasionTools, options: CarliniWagner) -> evasion.CarliniWagner:
  return evasion.CarliniWagner(tools.targeted, **dataclasses.asdict(options))


for _entry in (
  kinds.Evasion("pgd", _pgd, "projected gradient descent (Madry et al., 2018)", Pgd),
  kinds.Evasion("fgsm", _fgsm, "the fast gradient sign (Goodfellow et al., 2015)"),
  kinds.Evasion(
    "cw",
    _cw,
    "the l2 attack of Carlini and Wagner (2017), with a search for c",
    CarliniWagner,
    norms=("l2",),
  ),
  kinds.Evasion(
    "on_manifold",
    _on_manifold,
    "PGD on latents of data.manifold (Lin et al., 2020)",
    OnManifold,
    norms=("linf",),
    of_latents=True,
  ),
):
  kinds.EVASIONS.add(_entry)
