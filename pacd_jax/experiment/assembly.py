"""Builds the parts of a run's plan from its config: network, loss, victims, points.

`door.build` checks the config first and puts the parts together; the attack's parts are
built in `attack_assembly`.
"""

import dataclasses
import functools
from collections.abc import Hashable

import jax
import numpy as np
import optax

from pacd_jax import evasion, train, types
from pacd_jax.certification import certify
from pacd_jax.data import arrays
from pacd_jax.defenses import private_gradient
from pacd_jax.experiment import (
  early_stopping,
  ensembles,
  kinds,
  manifolds,
  plan,
  procedures,
  targets,
  weight_decay,
)
from pacd_jax.experiment.config import Config
from pacd_jax.experiment.entries import networks
from pacd_jax.experiment.training_config import Train, Training
from pacd_jax.manifolds.manifold import Manifold
from pacd_jax.models import cost, last_layer, microbatches
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
  """The budget of every poison that the run makes."""
  return plan.Budget(config.attack.epsilon, config.attack.norm)


def adversary(training: Training) -> evasion.Pgd:
  """The adversary that a group of fields describes."""
  options = training.adversary
  return evasion.Pgd(
    epsilon=options.epsilon,
    norm=options.norm,
    num_steps=options.num_steps,
    ascent=kinds.ASCENTS[options.ascent.name].make(options.ascent.own),
  )


def loss(
  training: Training,
  model: types.Model,
  sigma: float,
  manifold: Manifold | None = None,
) -> types.Loss:
  """The training loss that a group of fields selects, with its options.

  `manifold` is `manifolds.of_loss(...)`, for losses that move along one.
  """
  tools = kinds.LossTools(model, sigma, adversary(training), manifold)
  return kinds.LOSSES[training.loss.name].make(tools, training.loss.own)


def training(
  config: Config,
  splits: types.Splits,
  model: types.Model,
  key: types.Key,
  frozen: last_layer.Frozen | None = None,
) -> plan.TrainPlan:
  """The plan for training the victims, from scratch or on a network's frozen features."""
  options = config.train
  manifold = manifolds.of_loss(config, splits, options.loss.name)
  augment = options.augment if options.augment.name else config.data.augment
  image_shape = splits.train.images.shape[1:]
  mesh = sharding.batch_mesh()
  if ensembles.scheme_of(config) is None:  # Epochs of its networks are too short to share.
    mesh = sharding.victims_mesh(
      lambda: cost.forward_flops(model, image_shape, options.batch_size)
    )
  of_training = loss(options, model, config.sigma, manifold)
  mix = kinds.MIXES[options.mix.name].make(options.mix.own)
  trainer = train.make(
    model,
    of_training,
    functools.partial(_optimizer, options, frozen),
    image_shape=image_shape,
    num_epochs=options.num_epochs,
    recovery_epochs=options.recovery_epochs,
    batch_size=options.batch_size,
    victims_at_once=options.victims_at_once,
    augment=kinds.AUGMENTS[augment.name].make(augment.own),
    mix=mix,
    gradient_fn=_gradient_fn(options, model, of_training, mix is not None),
    noise_choice=options.noise,
    adversary_warmup=options.adversary.warmup,
    adversary_ramp=options.adversary.ramp,
    mesh=mesh,
  )
  return plan.TrainPlan(
    trainer,
    train.victim_keys(key, options.num_victims),
    num_epochs=options.num_epochs,
    recovery_epochs=options.recovery_epochs,
    batch_size=options.batch_size,
    save_every=options.save_every,
    mesh=mesh,
    frozen=frozen,
  )


def ensemble(config: Config, network: types.Model) -> ensembles.EnsemblePlan | None:
  """What victims are made of many networks; None: each is one."""
  if (scheme := ensembles.scheme_of(config)) is None:
    return None
  name, levels = config.train.ensemble.aggregation.name, config.certify.poisoned_images
  return ensembles.EnsemblePlan(name, scheme, network, (0, *levels))


def _gradient_fn(
  options: Train, model: types.Model, of_training: types.Loss, mixes: bool
) -> types.GradientFn | None:
  """The gradient of DP-SGD if the victims' are clipped, or one in parts."""
  if not options.clip_norm:
    # Partners are places in the whole batch.
    if mixes or not kinds.LOSSES[options.loss.name].is_mean:
      return None
    return microbatches.gradient_fn(model, of_training, options.batch_size)
  return functools.partial(
    private_gradient.value_and_grad,
    clip_norm=options.clip_norm,
    noise_multiplier=options.noise_multiplier,
  )


def _optimizer(
  options: Train, frozen: last_layer.Frozen | None, num_steps: int | types.Array
) -> optax.GradientTransformation:
  """The victims' optimiser, of their last layer alone if features are frozen."""
  if frozen is None:
    return _of_all(options, num_steps)
  ways: dict[Hashable, optax.GradientTransformation]
  ways = {True: _of_all(options, num_steps), False: optax.set_to_zero()}
  return optax.partition(ways, frozen.is_last)


def _of_all(options: Train, num_steps: int | types.Array) -> optax.GradientTransformation:
  """Adam, or AdamW (decoupled) if they have weight decay."""
  schedule = kinds.SCHEDULES[options.schedule.name]
  rate = schedule.make(options.learning_rate, num_steps, options.schedule.own)
  if options.weight_decay_choices:  # On the device: a number of each victim's state.
    return optax.inject_hyperparams(
      lambda weight_decay: optax.adamw(rate, weight_decay=weight_decay)
    )(weight_decay=0.0)
  if not options.weight_decay:
    return optax.adam(rate)
  return optax.adamw(rate, weight_decay=options.weight_decay)


def decay(
  config: Config, splits: types.Splits, model: types.Model, key: types.Key
) -> plan.DecayPlan | None:
  """The plan for choosing each row's weight decay; None: all have the config's."""
  choices = config.train.weight_decay_choices
  if not choices:
    return None
  of_fold = dataclasses.replace(
    config.train, recovery_epochs=0, num_victims=weight_decay.NUM_FOLDS
  )
  train_key, accuracy_key = (jax.random.fold_in(key, stream) for stream in (0, 1))
  manifold = manifolds.of_loss(config, splits, config.train.loss.name)
  of_training = loss(config.train, model, config.sigma, manifold)

  def accuracy(params, images, labels, key):
    return of_training(params, images, labels, key)[1]["accuracy"]

  return plan.DecayPlan(
    choices,
    training(dataclasses.replace(config, train=of_fold), splits, model, train_key),
    jax.jit(accuracy),
    accuracy_key,
  )


def stopping(
  config: Config, splits: types.Splits, model: types.Model, key: types.Key
) -> early_stopping.Stopping | None:
  """Early stopping by the ACR on validation images of the class; None: there is none."""
  options, target = config.train.stopping, config.data.target_class
  if not options.every:
    return None
  trusted = splits.validation
  indices = arrays.class_indices(trusted, target, "validation")
  if options.num_points:
    generator = np.random.default_rng(config.seed)
    indices = np.sort(generator.choice(indices, options.num_points, replace=False))
  acr = early_stopping.make_acr(
    model.apply,
    arrays.to_float(trusted.images[indices]),
    trusted.labels[indices],
    key,
    sigma=config.sigma,
    n=options.n,
    alpha=config.certify.alpha,
    mesh=sharding.batch_mesh(),
  )
  total = config.train.num_epochs + config.train.recovery_epochs
  return early_stopping.Stopping(options.every, total, acr)


def certification(
  config: Config, splits: types.Splits, model: types.Model, key: types.Key
) -> plan.CertifyPlan:
  """The plan for certifying the victims, on a sample of points drawn by the seed.

  The sample is drawn from the target points if there are any, else from the class.

  Raises:
    errors.InputError: the procedure cannot certify the model.
  """
  options = config.certify
  dataset = splits.named(options.split)
  indices = targets.points(config)
  if indices is None:
    indices = arrays.class_indices(dataset, config.data.target_class, options.split)
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
    sound=options.sound,
  )
  return plan.CertifyPlan(
    options.split,
    dataset,
    settings,
    indices,
    key,
    procedures.make(config, splits, model, settings),
  )
