"""What a config may name, and the function behind each name: every such table stands here.

A table's function takes plain values, those of the config's fields of its group.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import optax

from pacd_jax import evasion, losses, train, types
from pacd_jax.attacks import movement, objectives
from pacd_jax.bilevel import hypergradient, linear_solve, penalty, unrolling
from pacd_jax.bilevel.solvers import (
  adam_residual,
  ekfac,
  neumann,
  normal_equations,
  nystrom,
  single_loop,
)
from pacd_jax.models import augment


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

# `options -> solve`, before damping, which Nystrom's method adds by itself.
SOLVERS = {
  "identity": lambda options: linear_solve.identity,
  "cg": lambda options: functools.partial(
    linear_solve.conjugate_gradient, **_until_solved(options)
  ),
  "normal_equations": lambda options: functools.partial(
    normal_equations.normal_equations, **_until_solved(options)
  ),
  "adam_residual": lambda options: functools.partial(
    adam_residual.adam_residual,
    num_steps=options["solver_steps"],
    learning_rate=options["solver_learning_rate"],
  ),
  "neumann": lambda options: functools.partial(
    neumann.neumann, num_steps=options["solver_steps"]
  ),
  "nystrom": lambda options: functools.partial(
    nystrom.nystrom, damping=options["damping"], rank=options["nystrom_rank"]
  ),
  "ekfac": lambda options: functools.partial(
    ekfac.ekfac, num_probes=options["ekfac_probes"], **_until_solved(options)
  ),
  "single_loop": lambda options: functools.partial(
    single_loop.single_loop,
    num_steps=options["solver_steps"],
    step_size=options["solver_learning_rate"],
  ),
}
ADDS_DAMPING = ("nystrom",)
# They go on from a first guess: a warm start is of use.
ITERATIVE = (
  "cg",
  "normal_equations",
  "adam_residual",
  "neumann",
  "ekfac",
  "single_loop",
)
# They minimise x'Ax / 2 - b'x, which is bounded from below for a definite A alone.
_NEEDS_DEFINITE = ("cg", "ekfac", "neumann", "single_loop")

# `options -> hypergradient`, options being the group `attack`.
HYPERGRADIENTS = {
  "approx_grad": lambda options: functools.partial(
    hypergradient.approx_grad,
    curvature=CURVATURES[options["curvature"]],
    solve=solver(options),
  ),
  "unrolling": lambda options: functools.partial(
    unrolling.unrolled_grad, num_steps=options["solver_steps"], **options["unrolling"]
  ),
  "penalty": lambda options: functools.partial(
    penalty.penalty_grad, num_steps=options["solver_steps"], **options["penalty"]
  ),
}

# `(size, num_steps) -> schedule`, of the poison's steps and of the victims' rate.
STEP_SCHEDULES = {
  "constant": lambda size, num_steps: optax.constant_schedule(size),
  "linear": lambda size, num_steps: optax.linear_schedule(size, 0.0, num_steps),
}
RATE_SCHEDULES = {
  "constant": lambda rate, num_steps: optax.constant_schedule(rate),
  "cosine": train.cosine,
}


def _until_solved(options: dict[str, Any]) -> dict[str, Any]:
  return {"max_steps": options["solver_steps"], "tolerance": options["solver_tolerance"]}


def solver(options: dict[str, Any]) -> types.SolveFn:
  """The damped solve that the group `attack` asks for."""
  solve, damping = SOLVERS[options["solver"]](options), options["damping"]
  if options["solver"] in ADDS_DAMPING:
    return solve
  return lambda matvec, b, start: solve(linear_solve.damped(matvec, damping), b, start)


def make_hypergradient(options: dict[str, Any]) -> types.HypergradientFn:
  """The hypergradient that the group `attack` asks for, with its solver."""
  return HYPERGRADIENTS[options["hypergradient"]](options)


def has_selection(starts: Sequence[str], selection: Mapping[str, Any]) -> bool:
  """Whether PACD makes several poisons, of which one is to be chosen."""
  return len(starts) > 1 or bool(selection["every"]) or selection["corners"]


def needs_definite(options: dict[str, Any]) -> bool:
  """Whether the group `attack` asks for a method that needs a positive definite matrix."""
  is_solved = options["hypergradient"] == "approx_grad"
  return is_solved and options["solver"] in _NEEDS_DEFINITE


def remedy(options: dict[str, Any], min_curvature: float) -> str:
  """What to do about negative curvature under a method that `needs_definite`, in a line.

  Args:
    options: the group `attack`.
    min_curvature: the least p'Ap / p'p that was met, damping included.
  """
  enough = 1.05 * (options["damping"] - min_curvature)  # Two digits round up to it.
  changes = [f"attack.damping over {enough:.2g}", "attack.solver=normal_equations"]
  if options["curvature"] != "gauss_newton":
    changes.insert(0, "attack.curvature=gauss_newton")
  return (
    f"the {options['curvature']} matrix with damping {options['damping']:g} is not "
    f"positive definite (p'Ap / p'p = {min_curvature:.2g}), which "
    f"attack.solver={options['solver']} needs: try {', or '.join(changes)}"
  )
