"""Deterministic certificates by bounds: balls where all certified margins are above 0."""

import chex
import jax
import jax.numpy as jnp

from pacd_jax import errors, types
from pacd_jax.bounds import interval, linear, margins
from pacd_jax.bounds import layers as _layers


def make(
  model: types.Model,
  *,
  norm: str = "linf",
  method: str = "ibp",
  slopes: str = "adaptive",
  box: bool = True,
) -> types.VerifyFn:
  """The certificate of a classifier's predictions by lower bounds of its margins.

    holds(x, r)  =  min_{j != c} m_j(x, c; r) > 0,   c = argmax_j z_j(x)

  m_j is the bound of z_c - z_j on the ball of radius r (`margins.certified`). Nothing holds
  unless all m_j, and all z_c - z_j as computed, are finite and the latter are above 0, too:
  not of weights that overflow, nor of logits that rounding makes equal. Bounds are float32,
  rounded to nearest: they are no proof against rounding.

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

  def verify(params, images, radii):
    chex.assert_rank([images, radii], [4, 1])
    with jax.default_matmul_precision("highest"):
      logits = model.apply(params, images)
      predictions = logits.argmax(axis=-1)
      ball = interval.Ball(images, radii, norm, box)
      layers = _layers.of(model, params)
      found = margins.certified(layers, ball, predictions, method=method, slopes=slopes)
    clean = jnp.take_along_axis(logits, predictions[:, None], axis=1) - logits
    holds = [
      jnp.isfinite(each).all(axis=1) & (margins.smallest(each, predictions) > 0.0)
      for each in (clean, found)
    ]
    return predictions, holds[0] & holds[1]

  return verify
