"""Deterministic certificates by bounds: balls where all certified margins are above 0."""

import dataclasses

import chex
import jax
import jax.numpy as jnp

from pacd_jax import errors, types
from pacd_jax.bounds import interval, linear, margins
from pacd_jax.bounds import layers as _layers

# Largest difference of the description's logits from the network's, in their magnitude.
_ROUNDING = 1e-3


@dataclasses.dataclass(frozen=True)
class Bounded:
  """A `types.VerifyFn` by bounds, and what it certifies; `make` makes and checks it."""

  model: types.Model
  norm: str
  method: str
  slopes: str
  box: bool

  def __call__(
    self, params: types.Params, images: types.Array, radii: types.Array
  ) -> tuple[types.Array, types.Array]:
    chex.assert_rank([images, radii], [4, 1])
    with jax.default_matmul_precision("highest"):
      logits = self.model.apply(params, images)
      predictions = logits.argmax(axis=-1)
      ball = interval.Ball(images, radii, self.norm, self.box)
      layers = _layers.of(self.model, params)
      found = margins.certified(
        layers, ball, predictions, method=self.method, slopes=self.slopes
      )
      described = _layers.apply(layers, images)
    clean = jnp.take_along_axis(logits, predictions[:, None], axis=1) - logits
    holds = [
      jnp.isfinite(each).all(axis=1) & (margins.smallest(each, predictions) > 0.0)
      for each in (clean, found)
    ]
    scale = 1.0 + jnp.abs(logits).max(axis=1, keepdims=True)
    is_described = (jnp.abs(described - logits) <= _ROUNDING * scale).all(axis=1)
    return predictions, holds[0] & holds[1] & is_described


def make(
  model: types.Model,
  *,
  norm: str = "linf",
  method: str = "ibp",
  slopes: str = "adaptive",
  box: bool = True,
) -> Bounded:
  """The certificate of a classifier's predictions by lower bounds of its margins.

    holds(x, r)  =  min_{j != c} m_j(x, c; r) > 0,   c = argmax_j z_j(x)

  m_j is the bound of z_c - z_j on the ball of radius r (`margins.certified`). Nothing holds
  unless all m_j, and all z_c - z_j as computed, are finite and the latter are above 0, too:
  not of weights that overflow, nor of logits that rounding makes equal; nor where the
  description's logits are not the network's. Bounds are float32, rounded to nearest: they
  are no proof against rounding.

  Args:
    model: a network with a description.
    norm: of the balls, "linf" or "l2".
    method: one of `margins.METHODS`.
    slopes: one of `linear.SLOPES`, for linear bounds.
    box: whether an l_inf ball is cut with [0, 1]; an l2 ball is not.

  Raises:
    errors.InputError: the network has no bounds, or a setting is none of those known.
  """
  _layers.check(model, f"certificates by {method}")
  for what, value, known in (
    ("norm", norm, interval.NORMS),
    ("method", method, margins.METHODS),
    ("slopes", slopes, linear.SLOPES),
  ):
    if value not in known:
      raise errors.InputError(f"{what} is {value!r}: use one of {', '.join(known)}")

  return Bounded(model, norm, method, slopes, box)
