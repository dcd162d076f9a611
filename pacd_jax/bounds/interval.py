"""Interval bound propagation (IBP): from a ball of images, layer by layer.

Gowal et al. (2018), https://arxiv.org/abs/1810.12715. With centre c and radius r of an
interval, an affine layer gives W c + b and |W| r; ReLU and max-pooling are monotone, so
they map the ends. Of an l2 ball the first weights give radii eps |w|_2, w the rows of W.

Bounds are computed in float32 to the nearest number: they are no proof against rounding.
"""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp

from pacd_jax import types
from pacd_jax.bounds import layers as _layers

NORMS = ("linf", "l2")


class Interval(NamedTuple):
  """Lower and upper bounds of each number."""

  lower: types.Array  # `[B, ...]`.
  upper: types.Array

  @property
  def centre(self) -> types.Array:
    return 0.5 * (self.lower + self.upper)

  @property
  def radius(self) -> types.Array:
    return 0.5 * (self.upper - self.lower)

  @property
  def shape(self) -> tuple[int, ...]:
    return self.lower.shape

  def intersect(self, other: "Interval") -> "Interval":
    lower = jnp.maximum(self.lower, other.lower)
    return Interval(lower, jnp.maximum(jnp.minimum(self.upper, other.upper), lower))


@dataclasses.dataclass(frozen=True)
class Ball:
  """The images within a distance of each image.

  With `box`, those of an l_inf ball that are in [0, 1]; an l2 ball is never cut.
  """

  centre: types.Array  # `[B, ...]`.
  epsilon: types.Array  # `[]` or `[B]`, at least 0, image units.
  norm: str = "linf"  # Or "l2".
  box: bool = True

  @property
  def shape(self) -> tuple[int, ...]:
    return self.centre.shape

  def sizes(self, ndim: int) -> types.Array:
    """epsilon with axes for `ndim` dimensions, of which the first is the batch's."""
    epsilon = jnp.asarray(self.epsilon, self.centre.dtype)
    return epsilon.reshape((-1,) + (1,) * (ndim - 1))


Region = Interval | Ball


def pixels(region: Region) -> Interval:
  """The interval of each number in a region."""
  if isinstance(region, Interval):
    return region
  size = region.sizes(region.centre.ndim)
  lower, upper = region.centre - size, region.centre + size
  if region.box and region.norm == "linf":
    # An image out of the box, as noise makes it, has an empty set: its own value is kept.
    lower = jnp.minimum(jnp.maximum(lower, 0.0), region.centre)
    upper = jnp.maximum(jnp.minimum(upper, 1.0), region.centre)
  return Interval(lower, upper)


def through(layer: Any, region: Region) -> Region:
  """A region that holds what the layer makes of the given one."""
  if isinstance(region, Ball):
    if _layers.is_permutation(layer):
      return dataclasses.replace(region, centre=_layers.product(layer, region.centre))
    if region.norm == "l2" and not isinstance(
      layer, (*_layers.NONLINEAR, _layers.Residual)
    ):
      return _first(layer, region)
    region = pixels(region)
  if isinstance(layer, _layers.NONLINEAR):
    return Interval(*(_layers.through(layer, end) for end in region))
  if isinstance(layer, _layers.Residual):
    ends = []
    for part in (layer.branch, layer.shortcut):
      inside: Region = region
      for each in part:
        inside = through(each, inside)
      ends.append(pixels(inside))
    return summed(*ends)
  return _around(
    _layers.shifted(layer, _layers.product(layer, region.centre)),
    _layers.product(layer, region.radius, jnp.abs),
  )


def known(lower: types.Array, upper: types.Array) -> Interval:
  """The interval of these ends; of one that is no number, as inf - inf, nothing is known.

  A ReLU's lines would else take it for a ReLU that is off.
  """
  return Interval(
    jnp.where(jnp.isnan(lower), -jnp.inf, lower),
    jnp.where(jnp.isnan(upper), jnp.inf, upper),
  )


def _around(centre: types.Array, radius: types.Array) -> Interval:
  return known(centre - radius, centre + radius)


def _first(layer: Any, ball: Ball) -> Interval:
  """W c + b +- eps |w|_2, with w the rows of W."""
  centre = _layers.shifted(layer, _layers.product(layer, ball.centre))
  squares = _layers.product(layer, jnp.ones_like(ball.centre[:1]), jnp.square)
  return _around(centre, ball.sizes(centre.ndim) * _sqrt(squares))


def summed(one: Interval, other: Interval) -> Interval:
  """The interval of a sum."""
  return known(one.lower + other.lower, one.upper + other.upper)


def least(region: Region, coefficients: types.Array) -> types.Array:
  """The minimum of <a, x> over x in the region, for each a.

  In a ball it is <a, c> - eps |a|, with the dual norm; in an interval <a, c> - <|a|, r>.

  Args:
    region: of B images.
    coefficients: a, `[S, B, ...]`: S for each image.

  Returns:
    `[S, B]`.
  """
  num_images = region.shape[0]
  a = coefficients.reshape(len(coefficients), num_images, -1)
  if isinstance(region, Ball) and region.norm == "l2":
    size = region.sizes(1)[None] * _sqrt((a**2).sum(axis=-1))
    return jnp.einsum("sbd,bd->sb", a, region.centre.reshape(num_images, -1)) - size
  inside = pixels(region)
  centre, radius = (x.reshape(num_images, -1) for x in (inside.centre, inside.radius))
  return jnp.einsum("sbd,bd->sb", a, centre) - jnp.einsum("sbd,bd->sb", jnp.abs(a), radius)


def _sqrt(squares: types.Array) -> types.Array:
  """The square root, with derivative 0 at 0."""
  is_zero = squares == 0.0
  return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squares)))
