"""The parts of a run's plan, each made of its config: network, loss, victims, points.

`door.build` looks at the config before, and puts the parts together; the attack's are in
`attack_assembly`.
"""

import functools

import numpy as np
import optax

from pacd_jax import evasion, train, types
from pacd_jax.certification import certify
from pacd_jax.data import arrays
from pacd_jax.experiment import kinds, plan, targets
from pacd_jax.experiment.config import Config, Train, Training
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
