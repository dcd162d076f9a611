"""Certified margins: lower bounds of z_y - z_j, on a ball of images, for every class j.

The differences e_y - e_j are folded into the last layer, as in Gowal et al. (2018), section
4, https://arxiv.org/abs/1810.12715: its rows are w_y - w_j before they are bounded.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from pacd_jax import errors, types
from pacd_jax.bounds import interval, linear
from pacd_jax.bounds import layers as _layers

METHODS = ("ibp", "crown_ibp", "crown")


class Bounds(NamedTuple):
  """Lower bounds of z_y - z_j, each `[B, K]`; 0 at j = y."""

  ibp: types.Array  # With method "crown", on its intervals, which those of IBP hold.
  crown: types.Array | None  # None: not asked for.

  @property
  def best(self) -> types.Array:
    return self.ibp if self.crown is None else jnp.maximum(self.ibp, self.crown)


def bounds(
  layers: types.Layers,
  ball: interval.Ball,
  labels: types.Array,
  *,
  method: str = "crown_ibp",
  slopes: str = "adaptive",
) -> Bounds:
  """IBP's margins and, of the methods that have them, CROWN's.

  Args:
    layers: a network, the last of whose layers is dense.
    ball: around images `[B, H, W, C]`.
    labels: y, int `[B]`.
    method: "ibp"; "crown_ibp", linear bounds on the intervals of IBP (Zhang et al., 2020,
      https://arxiv.org/abs/1906.06316); or "crown", on intervals by linear bounds.
    slopes: one of `linear.SLOPES`.

  Raises:
    errors.InputError: the last layer is another.
  """
  chex.assert_rank([ball.centre, labels], [4, 1])
  if not layers or not isinstance(layers[-1], _layers.Dense):
    last = type(layers[-1]).__name__ if layers else "missing"
    raise errors.InputError(
      f"the last layer is not Dense but {last}: margins are bounded by the differences of "
      "its rows"
    )
  steps, region = linear.relax(
    layers[:-1], ball, slopes=slopes if method == "crown" else None
  )
  folded = _folded(layers[-1], labels)
  of_intervals = interval.least(region, folded[0]) + folded[1]
  if method == "ibp":
    return Bounds(of_intervals.T, None)
  return Bounds(of_intervals.T, linear.least(steps, ball, folded, slopes).T)


def certified(
  layers: types.Layers,
  ball: interval.Ball,
  labels: types.Array,
  *,
  method: str = "crown_ibp",
  slopes: str = "adaptive",
) -> types.Array:
  """The elementwise best of the bounds, `[B, K]`: never looser than IBP alone."""
  chex.assert_rank(labels, 1)
  return bounds(layers, ball, labels, method=method, slopes=slopes).best


def smallest(margins: types.Array, labels: types.Array) -> types.Array:
  """min_{j != y} of the margins, `[B, K]` -> `[B]`; above 0, y is certified."""
  chex.assert_rank([margins, labels], [2, 1])
  is_own = jax.nn.one_hot(labels, margins.shape[1], dtype=bool)
  return jnp.where(is_own, jnp.inf, margins).min(axis=1)


def _folded(last: _layers.Dense, labels: types.Array) -> linear.Linear:
  """w_y - w_j, `[K, B, D]`, and b_y - b_j, `[K, B]`."""
  rows = last.kernel.T
  return rows[labels][None] - rows[:, None], last.bias[labels][None] - last.bias[:, None]
