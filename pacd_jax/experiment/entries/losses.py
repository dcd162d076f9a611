"""Training losses, attackers' objectives and the steps of adversaries, by name.

The fields are `train.loss`, `attack.loss`, `attack.objective` and `*.adversary.ascent`.
"""

import dataclasses
from typing import Any

from pacd_jax import evasion, losses
from pacd_jax.attacks import objectives
from pacd_jax.experiment import fields, kinds
from pacd_jax.manifolds import training

_SAMPLES = fields.count(most=10_000)


@dataclasses.dataclass(frozen=True)
class Macer:
  """The options of `macer`; the defaults are its authors' for MNIST, for victims."""

  num_noise_samples: int = fields.field(16, _SAMPLES, "k, noisy copies of each image.")
  lam: float = fields.field(
    16.0, fields.at_least_zero(), "lambda, weight of the robustness loss."
  )
  gamma: float = fields.field(
    8.0, fields.interval("(0, 20]"), "Hinge: a radius over gamma sigma / 2 is enough."
  )
  inverse_temperature: float = fields.field(16.0, fields.above_zero(), "beta.")


@dataclasses.dataclass(frozen=True)
class SmoothAdv:
  """The options of `smoothadv`."""

  num_noise_samples: int = fields.field(1, _SAMPLES, "m, noisy copies of each image.")


@dataclasses.dataclass(frozen=True)
class Trades:
  """The options of `trades`."""

  weight: float = fields.field(
    6.0, fields.at_least_zero(), "1 / lambda, weight of the divergence."
  )


@dataclasses.dataclass(frozen=True)
class OnManifold:
  """The options of `on_manifold`: its PGD, in l_inf of the latents of `data.manifold`."""

  radius: float = fields.field(
    0.5, fields.at_least_zero(), "Of the ball, in standard deviations of latents."
  )
  num_steps: int = fields.field(
    5, fields.count(most=10_000), "Of PGD, each of 2 radius / num_steps."
  )


@dataclasses.dataclass(frozen=True)
class DualManifold(OnManifold):
  """The options of `dual_manifold`, beside the adversary's, which are of pixels."""

  weight: float = fields.field(
    1.0, fields.at_least_zero(), "Of the on-manifold term; 0: adversarial training."
  )


def _macer(tools: kinds.LossTools, options: Macer):
  return losses.macer(tools.apply, sigma=tools.sigma, **dataclasses.asdict(options))


def _smoothadv(tools: kinds.LossTools, options: SmoothAdv):
  return losses.smoothadv(
    tools.apply, sigma=tools.sigma, attack=tools.attack, **dataclasses.asdict(options)
  )


def _trades(tools: kinds.LossTools, options: Trades):
  return losses.trades(tools.apply, attack=tools.attack, **dataclasses.asdict(options))


def _on_manifold(tools: kinds.LossTools, options: OnManifold):
  assert tools.manifold is not None
  return training.on_manifold(
    tools.apply, tools.manifold, attack=_of_latents(tools, options)
  )


def _dual_manifold(tools: kinds.LossTools, options: DualManifold):
  assert tools.manifold is not None
  return training.dual_manifold(
    tools.apply,
    tools.manifold,
    attack=tools.attack,
    on_manifold_attack=_of_latents(tools, options),
    weight=options.weight,
  )


def _of_latents(tools: kinds.LossTools, options: OnManifold) -> evasion.Pgd:
  return evasion.Pgd(options.radius, "linf", options.num_steps, tools.attack.ascent)


for _entry in (
  kinds.Loss(
    "standard",
    lambda tools, options: losses.standard(tools.apply),
    "cross-entropy, without noise",
    takes_mixed=True,
    is_mean=True,
  ),
  kinds.Loss(
    "gaussian",
    lambda tools, options: losses.gaussian_augmentation(tools.apply, sigma=tools.sigma),
    "Gaussian augmentation (Cohen et al., 2019)",
    needs_noise=True,
    takes_mixed=True,
    is_mean=True,
  ),
  kinds.Loss(
    "macer",
    _macer,
    "MACER (Zhai et al., 2020)",
    options=Macer,
    needs_noise=True,
    is_mean=True,
  ),
  kinds.Loss(
    "smoothadv",
    _smoothadv,
    "SmoothAdv (Salman et al., 2019)",
    options=SmoothAdv,
    needs_noise=True,
    has_adversary=True,
    is_mean=True,
  ),
  kinds.Loss(
    "adversarial",
    lambda tools, options: losses.adversarial(tools.apply, attack=tools.attack),
    "adversarial training (Madry et al., 2018)",
    has_adversary=True,
    is_mean=True,
  ),
  kinds.Loss(
    "trades",
    _trades,
    "TRADES (Zhang et al., 2019)",
    options=Trades,
    has_adversary=True,
    is_mean=True,
  ),
  kinds.Loss(
    "on_manifold",
    _on_manifold,
    "adversarial training along a manifold of the images (Lin et al., 2020)",
    options=OnManifold,
    has_adversary=True,
    is_mean=True,
    needs_manifold=True,
  ),
  kinds.Loss(
    "dual_manifold",
    _dual_manifold,
    "dual-manifold adversarial training, of pixels and latents (Lin et al., 2020)",
    options=DualManifold,
    has_adversary=True,
    is_mean=True,
    needs_manifold=True,
  ),
):
  kinds.LOSSES.add(_entry)

kinds.ASCENTS.add(
  kinds.Ascent(
    "normalized",
    lambda options: evasion.normalized,
    "along the norm's steepest direction",
  )
)
kinds.ASCENTS.add(
  kinds.Ascent("adam", lambda options: evasion.adam, "of Adam, as the authors' code")
)


def _soft_acr(tools: kinds.ObjectiveTools, options: Any):
  del options
  return objectives.soft_acr(
    tools.apply,
    sigma=tools.sigma,
    num_noise_samples=tools.num_noise_samples,
    inverse_temperature=tools.inverse_temperature,
  )


kinds.OBJECTIVES.add(
  kinds.Objective("acr", _soft_acr, "the soft average certified radius", needs_noise=True)
)
kinds.OBJECTIVES.add(
  kinds.Objective(
    "accuracy",
    lambda tools, options: objectives.negative_loss(losses.standard(tools.apply)),
    "the accuracy, by minus the cross-entropy",
    row_words="the attack on accuracy: bilevel optimisation finds the change of the images "
    "after which a classifier trained on them gets the class wrong (Table 1).",
  )
)
