"""Certification procedures, by name: `certify.procedure`."""

import dataclasses

from pacd_jax.certification import provenance
from pacd_jax.experiment import fields, kinds


@dataclasses.dataclass(frozen=True)
class Balls:
  """The options of every deterministic procedure: which balls it verifies."""

  norm: str = fields.field("linf", fields.one_of(*provenance.NORMS), "Of the balls.")
  epsilon: float = fields.field(
    0.1, fields.above_zero(), "Radius at which verified accuracy is given, image units."
  )
  most: float = fields.field(
    0.5, fields.above_zero(), "Largest radius that is looked for, at least epsilon."
  )
  num_halvings: int = fields.field(
    8, fields.count(0, most=23), "Steps of the bisection between verified radii."
  )


kinds.PROCEDURES.add(
  kinds.Procedure(
    "smoothing", None, "randomized smoothing (Cohen et al., 2019), an l2 ball at 1 - alpha"
  )
)
