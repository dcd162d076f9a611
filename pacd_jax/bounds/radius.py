"""Deterministic certified radii: the largest ball on which the margins stay above 0."""

import functools

import chex
import jax
import jax.numpy as jnp

from pacd_jax import errors, types
from pacd_jax.bounds import interval, margins
from pacd_jax.bounds import layers as _layers


def certify(
  model: types.Model,
  params: types.Params,
  images: types.Array,
  *,
  norm: str = "linf",
  method: str = "ibp",
  slopes: str = "adaptive",
  box: bool = True,
  most: float = 0.5,
  steps: int = 12,
) -> tuple[types.Array, types.Array]:
  """The prediction for each image, and a radius in which it certainly does not change.

  The prediction is the class of the largest logit, c. A radius r is verified if the lower
  bounds of z_c - z_j on the ball of radius r are above 0 for all j != c. Bisection between
  0 and `most` returns the largest radius that was verified itself, within most / 2^steps of
  the method's own limit.

  Bounds are float32, rounded to nearest: no proof against rounding.

  Args:
    model: a network with a description.
    params: its parameters.
    images: float32 `[B, H, W, C]` in [0, 1].
    norm: of the ball, "linf" or "l2".
    method: one of `margins.METHODS`.
    slopes: one of `linear.SLOPES`, for linear bounds.
    box: whether an l_inf ball is cut with [0, 1]; an l2 ball is not.
    most: the largest radius that is tried, image units; the result where it is verified.
    steps: of bisection.

  Returns:
    `(predictions, radii)`, int32 and float32 `[B]`.

  Raises:
    errors.InputError: the network has no bounds, or a setting is out of its range.
  """
  _layers.check(model, "certify")
  check(norm=norm, most=most, steps=steps)
  chex.assert_rank(images, 4)
  options = norm, method, slopes, box, steps
  with jax.default_matmul_precision("highest"):
    return _certify(model, options, params, images, jnp.float32(most))


def check(*, norm: str, most: float, steps: int) -> None:
  """Raises `errors.InputError` for settings out of their range."""
  if norm not in ("linf", "l2"):
    raise errors.InputError(f"norm is {norm!r}: bounds are on balls of 'linf' or 'l2'")
  if not (0.0 < most < float("inf") and steps >= 1):
    raise errors.InputError(
      f"the largest radius is {most} and bisection has {steps} steps: use a radius above 0 "
      "and at least one step"
    )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _certify(model, options, params, images, most):
  norm, method, slopes, box, steps = options
  layers = _layers.of(model, params)
  predictions = model.apply(params, images).argmax(axis=-1).astype(jnp.int32)

  def is_verified(radius):
    ball = interval.Ball(images, radius, norm, box)
    found = margins.certified(layers, ball, predictions, method=method, slopes=slopes)
    return margins.smallest(found, predictions) > 0.0  # Not a number: not verified.

  def halve(ends, is_first):
    verified, end = ends
    radius = jnp.where(is_first, end, 0.5 * (verified + end))
    holds = is_verified(radius)
    return (jnp.where(holds, radius, verified), jnp.where(holds, end, radius)), None

  ends = jnp.zeros(len(images), jnp.float32), jnp.full(len(images), most)
  (radii, _), _ = jax.lax.scan(halve, ends, jnp.arange(steps + 1) == 0)
  return predictions, radii
