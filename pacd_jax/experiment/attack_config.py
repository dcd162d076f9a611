"""The fields of a config on PACD: lower level, steps, and the choice of a poison."""

import dataclasses

from pacd_jax import noise, perturbation
from pacd_jax.experiment import entries as _entries  # noqa: F401  Fills the registries.
from pacd_jax.experiment import fields, kinds
from pacd_jax.experiment.fields import Check, Choice, Choices, choice, field, group
from pacd_jax.experiment.training_config import Training, loss_field
from pacd_jax.registry import Registry

_frozen = dataclasses.dataclass(frozen=True, kw_only=True)


def _are_names(names) -> bool:
  return all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


def _some_starts(registry: Registry[kinds.Start]) -> Check:
  check = fields.some_of(registry)

  def holds(names):
    return check.holds(names) and len(names) > 0

  known = ", ".join(registry.names)
  return Check(tuple, holds, f"different names out of {known}")


@_frozen
class Selection:
  """The choice among several poisons: the one with the lowest ACR of fresh surrogates."""

  every: int = field(
    0, fields.count(0), "Steps between candidates; 0: the last of each start."
  )
  corners: bool = field(
    False, fields.flag(), "The last of each start at the budget's corners, too."
  )
  rows: tuple[str, ...] = field(
    (),
    Check(tuple, _are_names, "names of different baselines out of rows, or empty"),
    "Baselines whose poisons are candidates, too.",
  )
  num_surrogates: int = field(
    2, fields.count(most=1000), "Fresh surrogates for each candidate."
  )
  num_points: int = field(
    0, fields.count(0), "Of the validation split's, or of data.target_points; 0: all."
  )
  n: int = field(1000, fields.count(most=2**30), "As certify.n.")


@_frozen
class Attack(Training):
  """PACD, Algorithm 1; its loss is the victim's as the attacker assumes it."""

  loss: Choice = loss_field(macer={"num_noise_samples": 2, "lam": 1.0})
  preset: Choice = choice(
    kinds.PRESETS,
    "",
    "The published attack that this group's fields describe, which is checked.",
    empty="an attack of one's own",
  )
  objective: Choice = choice(kinds.OBJECTIVES, "acr", "What the attack minimises.")
  epsilon: float = field(
    0.1,
    Check(
      float,
      lambda value: 1 / 255 <= value <= 1e3,
      "from 1/255 (one level of 8 bits) to 1000",
    ),
    "Budget of one image's perturbation, image units; of every row.",
  )
  norm: str = field("linf", fields.one_of(*perturbation.NORMS), "Of the budget.")
  poisoned_fraction: float = field(
    1.0,
    fields.interval("(0, 1]"),
    "alpha: share of the class that is poisoned, drawn by the seed; the rest stays clean.",
  )
  starts: Choices = fields.choices(
    kinds.STARTS,
    ("clean",),
    "First perturbations; of several, the poison is kept that does most to fresh "
    "surrogates.",
    check=_some_starts,
  )
  selection: Selection = group(Selection)
  num_steps: int = field(2750, fields.count(), "Outer steps from each start.")
  num_shared_steps: int = field(
    0, fields.count(0), "Of these, the first move one perturbation shared by the class."
  )
  step_size: float = field(0.1, fields.above_zero(), "Of the poison, image units.")
  step_schedule: Choice = choice(kinds.SCHEDULES, "constant", "Of step_size.")
  num_frequencies: int = field(
    0, fields.count(0), "Of each axis, that steps are cut to; 0: all."
  )
  zero_mean: bool = field(
    False,
    fields.flag(),
    "Whether what all images share is taken off each step: for a victim who compares the "
    "means of classes with trusted images.",
  )
  step_rule: Choice = choice(kinds.STEP_RULES, "sign", "Direction of a step.")
  normalize: bool = field(False, fields.flag(), "Hypergradients to norm 1 before any mean.")
  momentum: float = field(
    0.0, fields.interval("[0, 1)"), "Of the running mean of hypergradients."
  )
  clean_batch: int = field(900, fields.count(), "Clean images in a lower-level batch.")
  poison_batch: int = field(100, fields.count(), "Poisoned images in it.")
  val_batch: int = field(100, fields.count(), "Validation images in the upper level.")
  val_noise: str = field(
    "fresh",
    fields.one_of(*noise.CHOICES),
    "Of the upper level: at every step, or one draw for each image.",
  )
  num_noise_samples: int = field(20, fields.count(), "k of the soft smoothed classifier.")
  inverse_temperature: float = field(16.0, fields.above_zero(), "beta of the same.")
  lower_steps: int = field(
    10, fields.count(), "T1: Adam steps of a surrogate in an outer step."
  )
  learning_rate: float = field(1e-3, fields.above_zero(), "Adam's, on a surrogate.")
  restart_every: int = field(550, fields.count(), "Outer steps that a surrogate lives.")
  warmup_steps: int = field(
    0, fields.count(0), "Adam steps of a fresh surrogate before the attack uses it."
  )
  num_surrogates: int = field(
    1, fields.count(most=1000), "Models of the victim, restarted in turn."
  )
  surrogates_at_once: int = field(0, fields.count(0), "In one vmap; 0: all.", free=True)
  warm_start: bool = field(
    False, fields.flag(), "Each solve begins at the same surrogate's last one."
  )
  hypergradient: Choice = choice(
    kinds.HYPERGRADIENTS, "approx_grad", "How the hypergradient is taken."
  )
  curvature: Choice = choice(kinds.CURVATURES, "gauss_newton", "The matrix of approx_grad.")
  solver: Choice = choice(kinds.SOLVERS, "cg", "Its linear system's method.")
  damping: float = field(
    0.1, Check(float, lambda value: value >= 0, "at least 0"), "Added to the matrix."
  )
  solver_steps: int = field(
    10,
    fields.count(),
    "T2: most steps, of the solver, of unrolling, or of penalty; the products with the "
    "matrix in a step differ, and the log has their number.",
  )
  solver_tolerance: float = field(
    0.0,
    fields.interval("[0, 1)"),
    "Relative residual at which solvers by conjugate gradients stop before.",
  )
  solver_learning_rate: float = field(
    0.01, fields.above_zero(), "Of solvers that take gradient steps."
  )
  knows_defense: bool = field(
    False,
    fields.flag(),
    "Surrogates have what is in defense.inside, train on images that the transforms of "
    "defense.chain have changed, and mix them as train.mix does; the poison stays under "
    "the thresholds of the filters l2 and slab in defense.chain.",
  )
  evasion_weight: float = field(
    10.0, fields.at_least_zero(), "Of these penalties: relative excesses over thresholds."
  )
  save_every: int = field(
    100, fields.count(), "Outer steps between checkpoints.", free=True
  )


def needs_definite(attack: Attack) -> bool:
  """Whether the attack's method needs a positive definite matrix."""
  is_solved = kinds.HYPERGRADIENTS[attack.hypergradient.name].solves
  return is_solved and kinds.SOLVERS[attack.solver.name].needs_definite


def has_selection(attack: Attack) -> bool:
  """Whether PACD makes several poisons, of which one is to be chosen."""
  options = attack.selection
  several = len(attack.starts.names) > 1 or bool(options.rows)
  return several or bool(options.every) or options.corners
