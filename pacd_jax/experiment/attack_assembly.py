"""Builds the attack's parts from the config: hypergradient, problem, PACD, selection."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import optax

from pacd_jax import types
from pacd_jax.attacks import pacd, problem
from pacd_jax.bilevel import linear_solve
from pacd_jax.experiment import assembly, defences, kinds, manifolds, plan, targets
from pacd_jax.experiment.attack_config import Attack
from pacd_jax.experiment.attack_config import has_selection as _has_selection
from pacd_jax.experiment.attack_config import needs_definite as _needs_definite
from pacd_jax.experiment.config import Config
from pacd_jax.experiment.training_config import Train, Training
from pacd_jax.manifolds.manifold import Manifold
from pacd_jax.runtime import sharding


def hypergradient(attack: Attack) -> types.HypergradientFn:
  """The hypergradient that the config selects, with its matrix and its damped solver."""
  tools = kinds.SolverTools(
    num_steps=attack.solver_steps,
    tolerance=attack.solver_tolerance,
    learning_rate=attack.solver_learning_rate,
    damping=attack.damping,
  )
  entry = kinds.SOLVERS[attack.solver.name]
  solve = entry.make(tools, attack.solver.own)
  if not entry.adds_damping:
    solve = _damped(solve, attack.damping)
  curvature = kinds.CURVATURES[attack.curvature.name].make(attack.curvature.own)
  way = kinds.HYPERGRADIENTS[attack.hypergradient.name]
  return way.make(
    kinds.HypergradientTools(tools, curvature, solve), attack.hypergradient.own
  )


def _first_start(attack: Attack) -> Callable[[types.Params], Any] | None:
  """What a surrogate's first solve starts from; None: every solve starts from zero."""
  if first := kinds.HYPERGRADIENTS[attack.hypergradient.name].first_start:
    return first
  return optax.tree.zeros_like if attack.warm_start else None


def _damped(solve: types.SolveFn, damping: float) -> types.SolveFn:
  return lambda matvec, b, start: solve(linear_solve.damped(matvec, damping), b, start)


def remedy(attack: Attack, min_curvature: float) -> str:
  """Advice, in one line, on negative curvature under a method that `needs_definite`.

  Args:
    attack: the group of the attack's fields.
    min_curvature: the least p'Ap / p'p that was seen, damping included.
  """
  enough = 1.05 * (attack.damping - min_curvature)  # 5 % cover the rounding to two digits.
  changes = [f"attack.damping over {enough:.2g}", "attack.solver=normal_equations"]
  if not kinds.CURVATURES[attack.curvature.name].is_semidefinite:
    changes.insert(0, "attack.curvature=gauss_newton")
  return (
    f"the {attack.curvature.name} matrix with damping {attack.damping:g} is not "
    f"positive definite (p'Ap / p'p = {min_curvature:.2g}), which "
    f"attack.solver={attack.solver.name} needs: try {', or '.join(changes)}"
  )


def settings(
  config: Config,
  model: types.Model,
  mesh: jax.sharding.Mesh | None = None,
  *,
  transform: types.TransformFn | None = None,
  penalties: tuple[types.PenaltyFn, ...] = (),
  manifold: Manifold | None = None,
) -> problem.Settings:
  """The settings of the bilevel problem, and of every attack's surrogate.

  Args:
    config: the run's config.
    model: the surrogate's classifier.
    mesh: every batch that the network sees is sharded over it; None: one device.
    transform: what victims do to their training images, if the attack knows it.
    penalties: of PACD's poison, for filters that it knows.
    manifold: for a loss that moves along one.
  """
  attack = config.attack
  if mesh is not None:
    model = model._replace(apply=sharding.over_batch(model.apply, mesh))
  objective = kinds.OBJECTIVES[attack.objective.name].make(
    kinds.ObjectiveTools(
      model,
      config.sigma,
      attack.num_noise_samples,
      attack.inverse_temperature,
      assembly.adversary(attack),
    ),
    attack.objective.own,
  )
  schedule = kinds.SCHEDULES[attack.step_schedule.name]
  return problem.Settings(
    model=model,
    loss=assembly.loss(attack, model, config.sigma, manifold),
    hypergradient=hypergradient(attack),
    optimizer=optax.adam(attack.learning_rate),
    objective=objective,
    epsilon=attack.epsilon,
    norm=attack.norm,
    clean_batch=attack.clean_batch,
    poison_batch=attack.poison_batch,
    val_batch=attack.val_batch,
    transform=transform,
    augment=kinds.AUGMENTS[config.data.augment.name].make(config.data.augment.own),
    mix=_known_mix(config),
    penalties=penalties,
    noise=attack.noise,
    val_noise=attack.val_noise,
    adversary_warmup=attack.adversary.warmup,
    lower_steps=attack.lower_steps,
    warmup_steps=attack.warmup_steps,
    num_surrogates=attack.num_surrogates,
    surrogates_at_once=attack.surrogates_at_once,
    first_start=_first_start(attack),
    num_shared_steps=attack.num_shared_steps,
    num_frequencies=attack.num_frequencies,
    zero_mean=attack.zero_mean,
    step_rule=kinds.STEP_RULES[attack.step_rule.name].make(attack.step_rule.own),
    normalize=attack.normalize,
    step_size=schedule.make(attack.step_size, attack.num_steps, attack.step_schedule.own),
    momentum=attack.momentum,
  )


def _known_mix(config: Config) -> types.MixFn | None:
  """The victims' mixing, if the attack knows it."""
  mix = config.train.mix
  return kinds.MIXES[mix.name].make(mix.own) if config.attack.knows_defense else None


def assemble(
  config: Config,
  splits: types.Splits,
  model: types.Model,
  tools: kinds.RowTools,
  known: defences.Known,
) -> plan.AttackPlan:
  """The plan of PACD, as configured; puts nothing on a device yet.

  Args:
    config: the run's config.
    splits: its data.
    model: the surrogate's classifier.
    tools: the inputs of the row `pacd`.
    known: what the attack knows of the defences of the training set.
  """
  options, mesh = config.attack, sharding.batch_mesh()
  starts = [kinds.STARTS[name] for name in options.starts.names]
  uses_sigma = (
    kinds.OBJECTIVES[options.objective.name].needs_noise
    or kinds.LOSSES[options.loss.name].needs_noise
  )
  return plan.AttackPlan(
    pacd.make(
      settings(
        config,
        model,
        mesh,
        transform=known.transform,
        penalties=known.penalties,
        manifold=manifolds.of_loss(config, splits, options.loss.name),
      )
    ),
    functools.cache(tools.attack_data),
    tools.key,
    {
      each.name: functools.partial(each.make, tools, options.starts.options.get(each.name))
      for each in starts
    },
    clean_starts=tuple(each.name for each in starts if each.is_clean),
    mesh=mesh,
    num_steps=options.num_steps,
    is_shared=options.num_shared_steps >= options.num_steps,
    restart_every=options.restart_every,
    num_surrogates=options.num_surrogates,
    save_every=options.save_every,
    remedy=functools.partial(remedy, options) if _needs_definite(options) else None,
    selection=selection(config, splits, model, tools.key, known),
    uses_sigma=uses_sigma,
  )


def selection(
  config: Config,
  splits: types.Splits,
  model: types.Model,
  key: types.Key,
  known: defences.Known,
) -> plan.SelectionPlan | None:
  """The plan for choosing the attack's poison; None where there is one candidate."""
  options = config.attack.selection
  if not _has_selection(config.attack):
    return None
  victims = as_assumed(config.attack, config.train)
  victims = dataclasses.replace(victims, num_victims=options.num_surrogates)
  seen = "validation" if targets.points(config) is None else "test"
  points = dataclasses.replace(
    config.certify,
    n=options.n,
    num_points=options.num_points,
    split=seen,
    mode=dataclasses.replace(config.certify.mode, name="fixed"),
  )
  keys = [
    jax.random.fold_in(key, stream)
    for stream in (problem.SELECTION_TRAIN, problem.SELECTION_CERTIFY)
  ]
  run = assembly.training(
    dataclasses.replace(config, train=victims), splits, model, keys[0]
  )
  at_once = victims.victims_at_once or 1
  if sharding.are_cores(run.mesh):
    at_once = run.mesh.size * (victims.victims_at_once or options.num_surrogates)
  return plan.SelectionPlan(
    options.every,
    options.corners,
    options.rows,
    model,
    known.defend,
    run,
    at_once,
    assembly.certification(
      dataclasses.replace(config, certify=points), splits, model, keys[1]
    ),
  )


def as_assumed(attack: Attack, victims: Train) -> Train:
  """The victims as the attacker assumes them.

  If their loss differs from the attack's, the fields of `Training` are the attack's, except
  the adversary's warm-up, which victims count in epochs, and its ramp. Recovery epochs,
  weight decay, the victims' own augmentation, clipped gradients and early stopping are
  unknown to the attacker and left out, and so is mixing, unless the attack knows the
  defence.
  """
  if victims.loss.name != attack.loss.name:
    shared = {
      each.name: getattr(attack, each.name) for each in dataclasses.fields(Training)
    }
    of_attack = {
      each.name: getattr(attack.adversary, each.name)
      for each in dataclasses.fields(attack.adversary)
      if each.name != "warmup"
    }
    shared["adversary"] = dataclasses.replace(victims.adversary, **of_attack)
    victims = dataclasses.replace(victims, **shared)
  none = dataclasses.replace(victims.mix, name="none")
  return dataclasses.replace(
    victims,
    recovery_epochs=0,
    weight_decay=0.0,
    weight_decay_choices=(),
    augment=dataclasses.replace(victims.augment, name=""),
    mix=victims.mix if attack.knows_defense else none,
    stopping=dataclasses.replace(victims.stopping, every=0),
    clip_norm=0.0,
    noise_multiplier=0.0,
  )
