"""The attack of the paper's authors, for the variant `authors` of configs.

Not an experiment by itself. The settings are those of their code for TensorFlow 1 (Mehra et
al., 2021), which the paper leaves out in part:

  - every image has its own perturbation, from the clean images, without selection;
  - a step of the poison is one of Adam with rate 0.1 = epsilon on MNIST, so the first one
    reaches the budget. The optimiser's moments belong to places in the batch, not to
    images: each batch's images are assigned to one variable;
  - the linear system is solved by ten steps of Adam on the squared residual of the Hessian,
    with noise (and augmentation) drawn anew at each for Gaussian augmentation; the solution
    and its moments are kept between outer steps;
  - a surrogate is attacked from its first step on. Every restart begins all of Adam's
    moments anew.

What still differs: they saved the poison before the last epoch (49 of 50 passes); their
batches of target and validation images are drawn independently at each step, ours in
passes; TensorFlow's Adam adds its epsilon before the bias correction; SmoothAdv's upper
level squeezes probabilities by 1e-4 (here 1e-3).
"""

from collections.abc import Callable, Mapping
from typing import Any

import ml_collections

from pacd_jax.experiment import entries as _entries  # noqa: F401  Fills the registry.
from pacd_jax.experiment import kinds, schema

_STEPS_OF_PASS = {"mnist": 55, "cifar10": 225}  # 49,500 / 900, 40,500 / 180.
# (data set, loss) -> passes over the clean images, passes between restarts, T1, rate of p.
_LENGTHS = {
  ("mnist", "gaussian"): (50, 10, 10, 1e-2),
  ("mnist", "macer"): (50, 10, 10, 1e-4),
  ("mnist", "smoothadv"): (100, 20, 1, 1e-3),
  ("cifar10", "gaussian"): (51, 10, 10, 1e-3),
  ("cifar10", "macer"): (50, 10, 10, 1e-4),
  ("cifar10", "smoothadv"): (100, 20, 1, 1e-3),
}
_WARMUP_PASSES = 5  # Of SmoothAdv's radius.
_SMALL = frozenset({"fast", "smoke"})  # Variants whose batches and steps are kept.


def of(variant: str) -> Callable[[ml_collections.ConfigDict], None]:
  """The function that applies `authors`; with fast or smoke in `variant`, sizes stay."""

  def apply(config):
    config.update_from_flattened_dict(dict(overrides(config, variant)))

  return apply


def overrides(config: ml_collections.ConfigDict, variant: str) -> Mapping[str, Any]:
  """The fields of `attack` that the authors' attack changes, by flat names.

  Args:
    config: a run's config; its data set and training loss choose the numbers.
    variant: of the config; with fast or smoke, batches, steps and restarts stay.
  """
  loss = config.attack.loss
  fields = {"attack.preset": "authors", **kinds.PRESETS["authors"].fields(loss)}
  keeps_sizes = not _SMALL.isdisjoint(variant.split(","))
  fields |= _numbers(config.data.name, loss, keeps_sizes=keeps_sizes)
  there = schema.flatten(config.to_dict())
  return {name: value for name, value in fields.items() if there[name] != value}


def _numbers(data: str, loss: str, *, keeps_sizes: bool) -> dict[str, Any]:
  """The numbers of the authors' attack; digits, which they have not, get MNIST's."""
  numbers: dict[str, Any] = {
    "attack.step_size": 0.1,
    "attack.learning_rate": 1e-3,
    "attack.damping": 1e-3,
    "attack.inverse_temperature": 16.0,
  }
  name = "mnist" if data == "digits" else data
  passes, restart, lower_steps, rate = _LENGTHS[name, loss]
  numbers["attack.solver_learning_rate"] = rate
  is_mnist = name == "mnist"
  if loss == "macer":
    numbers["attack.macer.num_noise_samples"] = 1 if is_mnist else 2
    numbers["attack.macer.lam"] = 1.0 if is_mnist else 2.0
  if keeps_sizes or data == "digits":
    return numbers
  steps = _STEPS_OF_PASS[name]
  numbers |= {
    "attack.num_steps": passes * steps,
    "attack.restart_every": restart * steps,
    "attack.lower_steps": lower_steps,
    "attack.solver_steps": 10,
    "attack.clean_batch": 900 if is_mnist else 180,
    "attack.poison_batch": 100 if is_mnist else 20,
    "attack.val_batch": 100 if is_mnist else 20,
    "attack.num_noise_samples": 20 if is_mnist else 5,
  }
  if loss == "smoothadv":
    numbers["attack.adversary.warmup"] = _WARMUP_PASSES * steps * lower_steps
  return numbers
