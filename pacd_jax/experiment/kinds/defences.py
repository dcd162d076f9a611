"""Kinds of defences: of training sets, inside the classifier, of many networks."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from pacd_jax import types
from pacd_jax.defenses.aggregation import scheme
from pacd_jax.registry import Options, Registry


class PenaltyTools(NamedTuple):
  """The inputs of `Defence.penalty`."""

  splits: types.Splits
  target_class: int
  num_poisoned: int  # Images of the class that the attack changes.
  weight: float


@dataclasses.dataclass(frozen=True)
class Defence:
  """A defence, which a victim applies to its training set before it trains."""

  name: str
  make: Callable[[Options], types.DefenceFn]
  words: str
  options: type | None = None
  is_filter: bool = False  # It removes images that it compares with the others.
  # What it makes of an image depends on no other image of the training set.
  is_per_image: bool = False
  uses_trusted: Callable[[Options], bool] = lambda options: False
  # What an attack that knows the filter adds to its objective, so that its images stay.
  penalty: Callable[[PenaltyTools, Options], types.PenaltyFn] | None = None
  # Checks its options against the data; raises errors.InputError.
  check: Callable[[Options, types.Splits], None] | None = None


class TransformTools(NamedTuple):
  """The inputs of `Transform.make`."""

  validation: types.Dataset  # Trusted: not poisoned.
  key: types.Key  # Folded or cloned, not consumed.


@dataclasses.dataclass(frozen=True)
class Transform:
  """A change of images inside the classifier, such as that of the defence of its name.

  Its options are those of the entry of this name in `DEFENCES`, if there is one.
  """

  name: str
  make: Callable[[TransformTools, Options], types.TransformFn]
  words: str
  needs_trusted: bool = False  # It is made of the validation images.
  options: None = None


class DenoiserTools(NamedTuple):
  """The inputs of `DenoiserLoss.make`."""

  denoise: types.ApplyFn  # Images of noisy images, given a denoiser's parameters.
  classify: types.ApplyFn  # Logits of images, given a classifier's parameters.
  sigma: float  # Noise standard deviation, image units.


@dataclasses.dataclass(frozen=True)
class DenoiserLoss:
  """A loss of the denoiser that stands before a victim in what is certified."""

  name: str
  # Its parameters are `certification.denoised.InTraining`. None: there is no denoiser.
  make: Callable[[DenoiserTools, Options], types.Loss] | None
  words: str
  options: type | None = None
  # How many surrogates it sees; 0: the victim itself. None: it sees no classifier.
  num_surrogates: Callable[[Options], int | None] = lambda options: None
  logged: tuple[str, ...] = ("noise_left",)  # Of its auxiliary numbers.


class AggregationTools(NamedTuple):
  """The inputs of `Aggregation.make`."""

  num_models: int  # Networks of one victim, at least 2.
  sigma: float  # Noise standard deviation of training, image units.
  alpha: float  # Probability that a certificate is wrong.


@dataclasses.dataclass(frozen=True)
class Aggregation:
  """A way to make one victim of many networks, whose votes bound what poison can do."""

  name: str
  # None: a victim is one network.
  make: Callable[[AggregationTools, Options], scheme.Scheme | None]
  words: str
  options: type | None = None
  # Its networks differ by one draw of noise for each training image, and by no more.
  smooths_training: bool = False
  # Checks its options against the data; raises errors.InputError.
  check: Callable[[Options, types.Splits], None] | None = None


DEFENCES: Registry[Defence] = Registry("defence")
TRANSFORMS: Registry[Transform] = Registry("transform")
DENOISER_LOSSES: Registry[DenoiserLoss] = Registry("loss of denoisers")
AGGREGATIONS: Registry[Aggregation] = Registry("aggregation")
