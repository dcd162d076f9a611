"""Defences of the training set by name: `defense.chain`."""

import dataclasses
import functools

from pacd_jax.defenses import identity, random_share
from pacd_jax.experiment import fields, kinds


@dataclasses.dataclass(frozen=True)
class RandomShare:
  """The options of `random_share`."""

  share: float = fields.field(
    0.5, fields.interval("(0, 1]"), "Of every class, that is kept."
  )


kinds.DEFENCES.add(
  kinds.Defence("identity", lambda options: identity.identity, "nothing is changed")
)
kinds.DEFENCES.add(
  kinds.Defence(
    "random_share",
    lambda options: functools.partial(
      random_share.random_share, **dataclasses.asdict(options)
    ),
    "a random share of every class is kept",
    options=RandomShare,
  )
)
