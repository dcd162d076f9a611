"""Defences of the training set by name: `defense.chain`."""

import dataclasses

import jax

from pacd_jax import types
from pacd_jax.data import training_sets
from pacd_jax.defenses import identity, random_share
from pacd_jax.defenses.trusted import images, two_sample, unshift
from pacd_jax.experiment import fields, kinds


@dataclasses.dataclass(frozen=True)
class RandomShare:
  """The options of `random_share`."""

  share: float = fields.field(
    0.5, fields.interval("(0, 1]"), "Of every class, that is kept."
  )


@dataclasses.dataclass(frozen=True)
class TwoSample:
  """The options of `two_sample`."""

  level: float = fields.field(
    0.05, fields.between(0.0, 1.0), "Probability of any alarm on clean data."
  )
  num_trusted: int = fields.field(
    50, fields.count(0), "Trusted images of each class; 0: all of validation."
  )


@dataclasses.dataclass(frozen=True)
class Unshift:
  """The options of `unshift`."""

  num_trusted: int = fields.field(
    20, fields.count(0), "Trusted images of each class; 0: all of validation."
  )
  most: float = fields.field(
    0.1, fields.at_least_zero(), "Largest change of a pixel that is taken off; 0: any."
  )


def _has_trusted(options: TwoSample | Unshift, splits: types.Splits) -> None:
  """Checks that each class has images to compare, as `images.by_class` does."""
  of_training = training_sets.whole(splits.train)
  key = jax.random.key(0)  # Which images are drawn does not matter.
  images.by_class(of_training, splits.validation, options.num_trusted, key)


kinds.DEFENCES.add(
  kinds.Defence(
    "identity",
    lambda options: identity.identity,
    "nothing is changed",
    is_per_image=True,
  )
)
kinds.DEFENCES.add(
  kinds.Defence(
    "random_share",
    fields.bound(random_share.random_share),
    "a random share of every class is kept",
    options=RandomShare,
  )
)
for _defence, _options, _words in (
  (
    two_sample.two_sample,
    TwoSample,
    "every class is tested against trusted images, and nothing is changed",
  ),
  (
    unshift.unshift,
    Unshift,
    "what a class has more than trusted images, on average, is taken off",
  ),
):
  kinds.DEFENCES.add(
    kinds.Defence(
      _defence.__name__,
      fields.bound(_defence),
      _words,
      options=_options,
      is_per_image=_defence is two_sample.two_sample,
      uses_trusted=lambda options: True,
      check=_has_trusted,
    )
  )
