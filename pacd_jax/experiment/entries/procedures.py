"""Certification procedures, by name: `certify.procedure`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.certification import deterministic, provenance, smoothed
from pacd_jax.experiment import fields, kinds


@dataclasses.dataclass(frozen=True)
class Balls:
  """The options of every procedure that verifies balls: which ones."""

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

  def further(self) -> dict[str, Any]:
    """The other settings of a subclass that its certificates depend on."""
    values, own = dataclasses.asdict(self), dataclasses.fields(Balls)
    return {name: values[name] for name in values.keys() - {each.name for each in own}}


def verifying(
  name: str,
  make_verify: Callable[[kinds.ProcedureTools, Any], types.VerifyFn],
  words: str,
  *,
  options: type = Balls,
  objective: str = "",
) -> kinds.Procedure:
  """A procedure that verifies balls, whose radii are found by bisection.

  Args:
    name: in configs.
    make_verify: `(tools, options)` to a function that verifies balls.
    words: what it is, for reports.
    options: `Balls`, or a subclass with further fields.
    objective: its differentiable counterpart, see `kinds.Procedure`.
  """

  def make(tools: kinds.ProcedureTools, own: Any) -> deterministic.Verification:
    verify = make_verify(tools, own)
    _trace(verify, tools)
    return deterministic.Verification(
      name,
      verify,
      own.norm,
      own.epsilon,
      own.most,
      own.num_halvings,
      tools.num_classes,
      own.further(),
    )

  return kinds.Procedure(
    name, make, words, options=options, objective=objective, check=_check
  )


def _check(own: Balls) -> None:
  if own.epsilon > own.most:
    raise errors.InputError(
      f"epsilon={own.epsilon:g} is above the largest radius that is looked for, "
      f"most={own.most:g}: raise the latter"
    )


def _trace(verify: types.VerifyFn, tools: kinds.ProcedureTools) -> None:
  """Verifies shapes alone, so that a layer without bounds is refused before any work."""
  shape = tools.image_shape
  params = jax.eval_shape(lambda key: tools.model.init(key, shape), jax.random.key(0))
  image, radius = (jax.ShapeDtypeStruct(each, np.float32) for each in ((1, *shape), (1,)))
  jax.eval_shape(verify, params, image, radius)


kinds.PROCEDURES.add(
  kinds.Procedure(
    "smoothing",
    lambda tools, _: smoothed.Smoothing(tools.model, tools.sampling),
    "randomized smoothing (Cohen et al., 2019), an l2 ball at 1 - alpha",
    objective="acr",
    draws=True,
  )
)
