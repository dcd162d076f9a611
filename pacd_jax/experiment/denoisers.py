"""The denoisers of a run, made of its config; `denoise_stage` trains them."""

import dataclasses
import functools
from collections.abc import Hashable

import jax
import jax.numpy as jnp
import optax

from pacd_jax import errors, train, types
from pacd_jax.certification import denoised
from pacd_jax.defenses.transforms import denoise
from pacd_jax.experiment import assembly, kinds, procedures
from pacd_jax.experiment.config import Config
from pacd_jax.experiment.plan import DenoiserPlan, TrainPlan
from pacd_jax.models import denoiser as networks
from pacd_jax.runtime import sharding


def check(config: Config) -> None:
  """Checks that nothing else of the config contradicts its denoiser.

  Raises:
    errors.InputError: names the fields, their values, and what to do instead.
  """
  options, of_victims = config.denoiser, config.train
  if options.loss.name == "none":
    if options.poisons != "both":
      raise errors.InputError(
        f"denoiser.poisons is {options.poisons!r}, but denoiser.loss=none trains no "
        "denoiser: set denoiser.loss=mse, say, or denoiser.poisons=both"
      )
    return
  if kinds.DENOISER_LOSSES[options.loss.name].num_surrogates(options.loss.own):
    for name, value, must_be in (
      ("train.weight_decay_choices", of_victims.weight_decay_choices, ()),
      ("train.frozen_features", of_victims.frozen_features, ""),
    ):
      if value != must_be:
        raise errors.InputError(
          f"denoiser.stability.access is 'query' and {name} is {value!r}, which its "
          f"surrogates do not have: set {name}={must_be!r}, or access=full"
        )
  for name, value, must_be in (
    ("train.ensemble.aggregation", of_victims.ensemble.aggregation.name, "none"),
    ("train.stopping.every", of_victims.stopping.every, 0),
    ("certify.procedure", config.certify.procedure.name, procedures.SMOOTHING),
  ):
    if value != must_be:
      raise errors.InputError(
        f"denoiser.loss is {options.loss.name!r} and {name} is {value!r}, which is for "
        f"victims without a denoiser: set {name}={must_be}, or denoiser.loss=none"
      )


def make(
  config: Config, splits: types.Splits, model: types.Model, key: types.Key
) -> DenoiserPlan | None:
  """The plan for the denoisers of all victims; None: there are none.

  Args:
    config: the run's config.
    splits: its data.
    model: the victims, which are classifiers.
    key: folded, not consumed.

  Raises:
    errors.InputError: a batch is larger than the training split.
  """
  options = config.denoiser
  entry = kinds.DENOISER_LOSSES[options.loss.name]
  if entry.make is None:
    return None
  if options.batch_size > (available := len(splits.train.labels)):
    raise errors.InputError(
      f"config field denoiser.batch_size is {options.batch_size}, but {splits.name} has "
      f"{available} training images: use at most {available}"
    )
  network = networks.denoiser(num_layers=options.num_layers, width=options.width)
  num_surrogates = entry.num_surrogates(options.loss.own)
  num_teachers = 0 if num_surrogates is None else max(num_surrogates, 1)
  tools = kinds.DenoiserTools(network.apply, model.apply, config.sigma)
  own_key, surrogate_key, test_key = (
    jax.random.fold_in(key, stream) for stream in range(3)
  )
  surrogates = None
  if num_surrogates:
    of_them = dataclasses.replace(
      config.train, num_victims=num_surrogates, recovery_epochs=0
    )
    surrogates = assembly.training(
      dataclasses.replace(config, train=of_them), splits, model, surrogate_key
    )

  def init(key, image_shape):
    own = network.init(key, image_shape)
    if not num_teachers:
      return denoised.InTraining((), own)
    shapes = jax.eval_shape(lambda key: model.init(key, image_shape), jax.random.key(0))
    empty = jax.tree.map(lambda s: jnp.zeros((num_teachers, *s.shape), s.dtype), shapes)
    return denoised.InTraining(empty, own)

  augment = config.train.augment if config.train.augment.name else config.data.augment
  mesh = sharding.batch_mesh()
  trainer = train.make(
    types.Model(init, lambda params, images: network.apply(params.denoiser, images)),
    entry.make(tools, options.loss.own),
    functools.partial(_optimizer, options.learning_rate),
    image_shape=splits.train.images.shape[1:],
    num_epochs=options.num_epochs,
    batch_size=options.batch_size,
    victims_at_once=config.train.victims_at_once,
    augment=kinds.AUGMENTS[augment.name].make(augment.own),
    logged=entry.logged,
    mesh=mesh,
  )
  return DenoiserPlan(
    entry.name,
    options.poisons,
    network=network,
    classifier=model,
    sees_victim=num_surrogates == 0,
    train=TrainPlan(
      trainer,
      train.victim_keys(own_key, config.train.num_victims),
      num_epochs=options.num_epochs,
      recovery_epochs=0,
      batch_size=options.batch_size,
      save_every=options.save_every,
      mesh=mesh,
    ),
    surrogates=surrogates,
    settings=denoise.Settings(config.sigma, options.num_layers, options.width),
    test_key=test_key,
  )


def _optimizer(rate: float, num_steps: int | types.Array) -> optax.GradientTransformation:
  """Adam of the denoiser alone, at a rate that falls to 0."""

  def is_trained(params):
    teachers = jax.tree.map(lambda leaf: False, params.teachers)
    return denoised.InTraining(teachers, jax.tree.map(lambda leaf: True, params.denoiser))

  ways: dict[Hashable, optax.GradientTransformation]
  ways = {True: optax.adam(train.cosine(rate, num_steps)), False: optax.set_to_zero()}
  return optax.partition(ways, is_trained)


def named(config: Config, classifier: str) -> str:
  """The name of what is certified, in tables: "small_cnn behind a denoiser (mse)"."""
  loss = config.denoiser.loss
  if loss.name == "none":
    return classifier
  access = getattr(loss.own, "access", "")
  return f"{classifier} behind a denoiser ({', '.join(filter(None, (loss.name, access)))})"
