"""Kinds of training and of the attack's two levels: losses, objectives, adversaries."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import optax

from pacd_jax import evasion, types
from pacd_jax.manifolds.manifold import Manifold as FittedManifold
from pacd_jax.registry import Options, Registry


class LossTools(NamedTuple):
  """The inputs of `Loss.make`."""

  model: types.Model
  sigma: float  # Noise standard deviation, image units.
  attack: evasion.Pgd  # The PGD of losses that have an adversary.
  # `data.manifold`; None where the loss does not need one.
  manifold: FittedManifold | None = None

  @property
  def apply(self) -> types.ApplyFn:
    return self.model.apply


@dataclasses.dataclass(frozen=True)
class Loss:
  """A training loss, for victims and for the attack's lower level."""

  name: str
  make: Callable[[LossTools, Options], types.Loss]
  words: str
  options: type | None = None
  needs_noise: bool = False  # It trains on Gaussian noise.
  has_adversary: bool = False  # It attacks its images first.
  # It is linear in a one-hot label, and its outputs do not depend on labels: mixed labels.
  takes_mixed: bool = False
  is_mean: bool = False  # Of a term of each image, which thus has a gradient of its own.
  needs_bounds: bool = False  # Of the network's logits on the adversary's ball.
  needs_manifold: bool = False  # It attacks along `data.manifold`.


class ObjectiveTools(NamedTuple):
  """The inputs of `Objective.make`."""

  model: types.Model
  sigma: float  # Noise standard deviation, image units.
  num_noise_samples: int  # k of the soft smoothed classifier.
  inverse_temperature: float  # beta of the soft smoothed classifier.
  attack: evasion.Pgd  # The adversary of the attack's training loss, and its ball.

  @property
  def apply(self) -> types.ApplyFn:
    return self.model.apply


@dataclasses.dataclass(frozen=True)
class Objective:
  """An objective, which the attacker minimises."""

  name: str
  make: Callable[[ObjectiveTools, Options], types.ObjectiveFn]
  words: str
  options: type | None = None
  needs_noise: bool = False  # It is defined on a smoothed classifier.
  # It is after certified radii, as is all that needs noise: poisons are chosen by the ACR.
  lowers_radii: bool = False
  # Describes row `pacd` in a report; "": the words of that row, the paper's attack.
  row_words: str = ""


@dataclasses.dataclass(frozen=True)
class Ascent:
  """The steps of an adversary's PGD."""

  name: str
  make: Callable[[Options], types.AscentFn]
  words: str
  options: type | None = None


class EvasionTools(NamedTuple):
  """The inputs of `Evasion.make`."""

  norm: str  # One of the entry's.
  targeted: bool


@dataclasses.dataclass(frozen=True)
class Evasion:
  """An attack at test time, of `pacd evade` and of the paper's Table 5; of no config."""

  name: str
  make: Callable[[EvasionTools, Options], types.EvasionFn]  # Hashable.
  words: str
  options: type | None = None
  norms: tuple[str, ...] = ("l2", "linf")
  of_latents: bool = False  # It moves latents of `data.manifold`: radii are theirs.


@dataclasses.dataclass(frozen=True)
class Augment:
  """A random change of training images."""

  name: str
  make: Callable[[Options], types.AugmentFn | None]  # None: there is none.
  words: str
  options: type | None = None
  # Checks its options against the data; raises errors.InputError.
  check: Callable[[Options, types.Splits], None] | None = None


class ManifoldTools(NamedTuple):
  """The inputs of `Manifold.fit`."""

  images: np.ndarray  # uint8 `[n, H, W, C]`: trusted, not poisoned.
  key: types.Key  # Consumed.


@dataclasses.dataclass(frozen=True)
class Manifold:
  """A manifold of images, fitted on trusted ones."""

  name: str
  fit: Callable[[ManifoldTools, Options], FittedManifold]
  words: str
  options: type  # It has a field `latent_dimension`.


@dataclasses.dataclass(frozen=True)
class Mix:
  """A random mixing of a victim's training images, and of their labels."""

  name: str
  make: Callable[[Options], types.MixFn | None]  # None: there is none.
  words: str
  options: type | None = None


@dataclasses.dataclass(frozen=True)
class Schedule:
  """A size or rate as a function of the step."""

  name: str
  # `(size, number of steps, options)`.
  make: Callable[[float, Any, Options], optax.Schedule]
  words: str
  options: type | None = None


LOSSES: Registry[Loss] = Registry("loss")
OBJECTIVES: Registry[Objective] = Registry("objective")
ASCENTS: Registry[Ascent] = Registry("ascent")
EVASIONS: Registry[Evasion] = Registry("attack at test time")
AUGMENTS: Registry[Augment] = Registry("augmentation")
MANIFOLDS: Registry[Manifold] = Registry("manifold")
MIXES: Registry[Mix] = Registry("mixing")
SCHEDULES: Registry[Schedule] = Registry("schedule")
