"""The parts of a run's plan, each made of its config: network, attack, victims, points.

`door.build` looks at the config before, and puts the parts together.
"""

import dataclasses
import functools

import jax
import numpy as np
import optax

from pacd_jax import evasion, train, types
from pacd_jax.attacks import pacd, problem
from pacd_jax.bilevel import linear_solve
from pacd_jax.certification import certify
from pacd_jax.data import arrays
from pacd_jax.experiment import kinds, plan, targets
from pacd_jax.experiment.config import Attack, Config, Train, Training
from pacd_jax.experiment.config import has_selection as _has_selection
from pacd_jax.experiment.config import needs_definite as _needs_definite
from pacd_jax.experiment.entries import networks
from pacd_jax.runtime import sharding


def network(config: Config, splits: types.Splits) -> tuple[types.Model, str]:
  """The architecture of the surrogate and of the victims, and its name in tables."""
  name, norm = config.model.name, config.model.norm
  made = networks.make(
    name.name,
    num_classes=splits.num_classes,
    image_shape=splits.train.images.shape[1:],
    norm=norm,
    options=name.own,
  )
  return made, f"{name.name} ({norm})" if norm else name.name


def budget(config: Config) -> plan.Budget:
  """Of every poison that the run makes."""
  return plan.Budget(config.attack.epsilon, config.attack.norm)


def loss(training: Training, apply: types.ApplyFn, sigma: float) -> types.Loss:
  """The training loss that a group asks for, with its options."""
  adversary = training.adversary
  attack = evasion.Pgd(
    epsilon=adversary.epsilon,
    norm=adversary.norm,
    num_steps=adversary.num_steps,
    ascent=kinds.ASCENTS[adversary.ascent.name].make(adversary.ascent.own),
  )
  tools = kinds.LossTools(apply, sigma, attack)
  return kinds.LOSSES[training.loss.name].make(tools, training.loss.own)


# --- the attack -----------------------------------------------------------------------


def hypergradient(attack: Attack) -> types.HypergradientFn:
  """The hypergradient that the attack asks for, with its matrix and its damped solver."""
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


def _damped(solve: types.SolveFn, damping: float) -> types.SolveFn:
  return lambda matvec, b, start: solve(linear_solve.damped(matvec, damping), b, start)


def remedy(attack: Attack, min_curvature: float) -> str:
  """What to do about negative curvature under a method that `needs_definite`, in a line.

  Args:
    attack: the group.
    min_curvature: the least p'Ap / p'p that was met, damping included.
  """
  enough = 1.05 * (attack.damping - min_curvature)  # Two digits round up to it.
  changes = [f"attack.damping over {enough:.2g}", "attack.solver=normal_equations"]
  if not kinds.CURVATURES[attack.curvature.name].is_semidefinite:
    changes.insert(0, "attack.curvature=gauss_newton")
  return (
    f"the {attack.curvature.name} matrix with damping {attack.damping:g} is not "
    f"positive definite (p'Ap / p'p = {min_curvature:.2g}), which "
    f"attack.solver={attack.solver.name} needs: try {', or '.join(changes)}"
  )


def attack_settings(
  config: Config, model: types.Model, mesh: jax.sharding.Mesh | None = None
) -> problem.Settings:
  """The bilevel problem, and any attack's surrogate.

  With a mesh, its devices share every batch that the network sees.
  """
  attack = config.attack
  if mesh is not None:
    model = model._replace(apply=sharding.over_batch(model.apply, mesh))
  objective = kinds.OBJECTIVES[attack.objective.name].make(
    kinds.ObjectiveTools(
      model.apply, config.sigma, attack.num_noise_samples, attack.inverse_temperature
    ),
    attack.objective.own,
  )
  schedule = kinds.SCHEDULES[attack.step_schedule.name]
  return problem.Settings(
    model=model,
    loss=loss(attack, model.apply, config.sigma),
    hypergradient=hypergradient(attack),
    optimizer=optax.adam(attack.learning_rate),
    objective=objective,
    epsilon=attack.epsilon,
    norm=attack.norm,
    clean_batch=attack.clean_batch,
    poison_batch=attack.poison_batch,
    val_batch=attack.val_batch,
    augment=kinds.AUGMENTS[config.data.augment.name].make(config.data.augment.own),
    noise=attack.noise,
    adversary_warmup=attack.adversary.warmup,
    lower_steps=attack.lower_steps,
    warmup_steps=attack.warmup_steps,
    num_surrogates=attack.num_surrogates,
    surrogates_at_once=attack.surrogates_at_once,
    warm_start=attack.warm_start,
    num_shared_steps=attack.num_shared_steps,
    num_frequencies=attack.num_frequencies,
    step_rule=kinds.STEP_RULES[attack.step_rule.name].make(attack.step_rule.own),
    normalize=attack.normalize,
    step_size=schedule.make(attack.step_size, attack.num_steps, attack.step_schedule.own),
    momentum=attack.momentum,
  )


def attack(
  config: Config, splits: types.Splits, model: types.Model, tools: kinds.RowTools
) -> plan.AttackPlan:
  """PACD as the config has it; nothing is put on a device yet.

  Args:
    config: of the run.
    splits: its data.
    model: its network.
    tools: of the row `pacd`.
  """
  options, mesh = config.attack, sharding.batch_mesh()
  starts = [kinds.STARTS[name] for name in options.starts.names]
  uses_sigma = (
    kinds.OBJECTIVES[options.objective.name].needs_noise
    or kinds.LOSSES[options.loss.name].needs_noise
  )
  return plan.AttackPlan(
    pacd.make(attack_settings(config, model, mesh)),
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
    selection=selection(config, splits, model, tools.key),
    uses_sigma=uses_sigma,
  )


def selection(
  config: Config, splits: types.Splits, model: types.Model, key: types.Key
) -> plan.SelectionPlan | None:
  """How the attack's poison is chosen; None where there is one candidate."""
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
  return plan.SelectionPlan(
    options.every,
    options.corners,
    training(dataclasses.replace(config, train=victims), splits, model, keys[0]),
    certification(dataclasses.replace(config, certify=points), splits, keys[1]),
  )


def as_assumed(attack: Attack, victims: Train) -> Train:
  """The victims as the attacker takes them to be.

  Where their loss is another than the attack's, all that says how a network is trained is
  the attack's, but for the warm-up of the adversary, which for victims counts epochs. What
  victims do without the attacker's knowledge is left out.
  """
  if victims.loss.name != attack.loss.name:
    shared = {
      each.name: getattr(attack, each.name) for each in dataclasses.fields(Training)
    }
    warmup = victims.adversary.warmup
    shared["adversary"] = dataclasses.replace(attack.adversary, warmup=warmup)
    victims = dataclasses.replace(victims, **shared)
  return dataclasses.replace(
    victims,
    recovery_epochs=0,
    weight_decay=0.0,
    augment=dataclasses.replace(victims.augment, name=""),
  )


# --- victims and their certificates ---------------------------------------------------


def training(
  config: Config, splits: types.Splits, model: types.Model, key: types.Key
) -> plan.TrainPlan:
  """How the victims are trained."""
  options = config.train
  augment = options.augment if options.augment.name else config.data.augment
  trainer = train.make(
    model,
    loss(options, model.apply, config.sigma),
    functools.partial(_optimizer, options),
    image_shape=splits.train.images.shape[1:],
    num_epochs=options.num_epochs,
    recovery_epochs=options.recovery_epochs,
    batch_size=options.batch_size,
    victims_at_once=options.victims_at_once,
    augment=kinds.AUGMENTS[augment.name].make(augment.own),
    noise_choice=options.noise,
    adversary_warmup=options.adversary.warmup,
    mesh=sharding.batch_mesh(),
  )
  return plan.TrainPlan(
    trainer,
    train.victim_keys(key, options.num_victims),
    num_epochs=options.num_epochs,
    recovery_epochs=options.recovery_epochs,
    batch_size=options.batch_size,
    save_every=options.save_every,
    mesh=sharding.batch_mesh(),
  )


def _optimizer(
  options: Train, num_steps: int | types.Array
) -> optax.GradientTransformation:
  """Of the victims: Adam, with decoupled weight decay (AdamW) where they have some."""
  schedule = kinds.SCHEDULES[options.schedule.name]
  rate = schedule.make(options.learning_rate, num_steps, options.schedule.own)
  if not options.weight_decay:
    return optax.adam(rate)
  return optax.adamw(rate, weight_decay=options.weight_decay)


def certification(config: Config, splits: types.Splits, key: types.Key) -> plan.CertifyPlan:
  """How the victims are certified, and on which points: a sample drawn by the seed.

  They are of the class, or the target points alone.
  """
  options = config.certify
  dataset = {"test": splits.test, "validation": splits.validation}[options.split]
  indices = targets.points(config)
  if indices is None:
    indices = arrays.class_indices(dataset, config.data.target_class)
  if options.num_points:
    generator = np.random.default_rng(config.seed)
    indices = np.sort(generator.choice(indices, options.num_points, replace=False))
  settings = certify.Settings(
    sigma=config.sigma,
    n0=options.n0,
    n=options.n,
    alpha=options.alpha,
    mode=options.mode.name,
    options=options.mode.own,
    dtype=options.dtype,
    batch_size=options.batch_size,
  )
  return plan.CertifyPlan(options.split, dataset, settings, indices, key)
