"""What a config may name, and the function behind each name: every such table stands here.

A table's function takes plain values, those of the config's fields of its group.
"""

import functools
from typing import Any

import optax

from pacd_jax import augment, evasion, hypergradient, linear_solve, losses, types
from pacd_jax.attacks import movement, objectives


def _pgd(options: dict[str, Any]) -> evasion.Pgd:
  adversary = options["adversary"]
  return evasion.Pgd(
    epsilon=adversary["epsilon"],
    norm=adversary["norm"],
    num_steps=adversary["num_steps"],
    ascent=ASCENTS[adversary["ascent"]],
  )


# `(apply, sigma, options) -> Loss`, options being the config's group `attack` or `train`.
LOSSES = {
  "standard": lambda apply, sigma, options: losses.standard(apply),
  "gaussian": lambda apply, sigma, options: losses.gaussian_augmentation(
    apply, sigma=sigma
  ),
  "macer": lambda apply, sigma, options: losses.macer(
    apply, sigma=sigma, **options["macer"]
  ),
  "smoothadv": lambda apply, sigma, options: losses.smoothadv(
    apply, sigma=sigma, attack=_pgd(options), **options["smoothadv"]
  ),
  "adversarial": lambda apply, sigma, options: losses.adversarial(
    apply, attack=_pgd(options)
  ),
  "trades": lambda apply, sigma, options: losses.trades(
    apply, attack=_pgd(options), **options["trades"]
  ),
}
ADVERSARIAL = ("smoothadv", "adversarial", "trades")  # They attack images first.
NOISY = ("gaussian", "macer", "smoothadv")  # They train on Gaussian noise.
ASCENTS = {"normalized": evasion.normalized, "adam": evasion.adam}

# `(apply, sigma, options) -> ObjectiveFn`, options being the group `attack`.
OBJECTIVES = {
  "acr": lambda apply, sigma, options: objectives.soft_acr(
    apply,
    sigma=sigma,
    num_noise_samples=options["num_noise_samples"],
    inverse_temperature=options["inverse_temperature"],
  ),
  "accuracy": lambda apply, sigma, options: objectives.negative_loss(
    losses.standard(apply)
  ),
}

STARTS = ("clean", "classwise", "away", "brightness", "random")
STEP_RULES = movement.RULES
AUGMENTS = {"none": None, "crop_and_flip": augment.crop_and_flip}
CURVATURES = {
  "gauss_newton": hypergradient.gauss_newton,
  "hessian": hypergradient.hessian,
}

# `options -> solve`, before damping.
SOLVERS = {
  "identity": lambda options: linear_solve.identity,
  "cg": lambda options: functools.partial(
    linear_solve.conjugate_gradient,
    max_steps=options["solver_steps"],
    tolerance=options["solver_tolerance"],
  ),
}

NEED_DEFINITE = ("cg", "neumann", "nystrom", "ekfac", "single_loop")  # Matrices.

# `(size, num_steps) -> schedule`, of the poison's steps and of the victims' rate.
STEP_SCHEDULES = {
  "constant": lambda size, num_steps: optax.constant_schedule(size),
  "linear": lambda size, num_steps: optax.linear_schedule(size, 0.0, num_steps),
}
RATE_SCHEDULES = {
  "constant": lambda rate, num_steps: optax.constant_schedule(rate),
  "cosine": optax.cosine_decay_schedule,
}


def solver(options: dict[str, Any]) -> types.SolveFn:
  """The damped solve that the group `attack` asks for."""
  solve, damping = SOLVERS[options["solver"]](options), options["damping"]
  return lambda matvec, b, start: solve(linear_solve.damped(matvec, damping), b, start)
