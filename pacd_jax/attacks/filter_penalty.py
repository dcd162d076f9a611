"""A penalty by which a poison stays under the threshold of a filter by centroids.

  P(u) = (w / p) sum_i max(s(u_i) / t - 1, 0)

s is the filter's score of an image, t the largest score that it keeps of the class's clean
images, and p the number of images: 0 where the filter would keep all of them. It is the
hinge form of the attacker's feasible set in Koh, Steinhardt and Liang (2022),
https://arxiv.org/abs/1811.00741, and is added to the upper level.
"""

from collections.abc import Callable

import chex
import jax.numpy as jnp
import numpy as np

from pacd_jax import types

# `(vectors [p, D], own centroid [D], other centroids [K - 1, D]) -> [p]`.
ScoreFn = Callable[[types.Array, types.Array, types.Array], types.Array]


def l2(vectors: types.Array, own: types.Array, others: types.Array) -> types.Array:
  """The distance to the own centroid, the score of filter `l2`."""
  del others
  return _norm(vectors - own[None])


def slab(vectors: types.Array, own: types.Array, others: types.Array) -> types.Array:
  """The largest distance to it along the lines to the others, the score of `slab`."""
  lines = own[None] - others
  directions = lines / _norm(lines)[:, None]
  return jnp.abs((vectors - own[None]) @ directions.T).max(axis=-1)


def _norm(vectors):
  return jnp.sqrt(jnp.sum(vectors**2, axis=-1) + 1e-12)  # Its gradient is finite at 0.


def make(
  score: ScoreFn,
  means: np.ndarray,
  threshold: float,
  *,
  label: int,
  moving: float,
  weight: float,
) -> types.PenaltyFn:
  """Makes the penalty of one filter, on pixels.

  Args:
    score: `l2` or `slab`.
    means: float `[K, D]`, the centroids of clean data, or of trusted images.
    threshold: t, above 0.
    label: the class that is attacked.
    moving: the share of the class that is poisoned, by which the class's centroid goes
      along with the mean change of the images; 0: centroids are of trusted images.
    weight: w.
  """
  own = means[label].astype(np.float32)
  others = np.delete(means, label, axis=0).astype(np.float32)

  def penalty(poison, base_images):
    vectors, base = (x.reshape(len(x), -1) for x in (poison, base_images))
    at_hand = own + moving * (vectors - base).mean(axis=0)
    excess = score(vectors, at_hand, jnp.asarray(others)) / threshold - 1.0
    return weight * jnp.maximum(excess, 0.0).mean()

  return penalty


def added(
  penalties: tuple[types.PenaltyFn, ...], upper: types.UpperLevel, base_images: types.Array
) -> types.UpperLevel:
  """An upper level plus penalties on its poison, made of base images `[p, H, W, C]`."""
  chex.assert_rank(base_images, 4)
  if not penalties:
    return upper

  def penalised(function):
    def with_penalties(params, poison):
      of_filters = sum(penalty(poison, base_images) for penalty in penalties)
      return function(params, poison) + of_filters

    return with_penalties

  redraw = upper.redraw
  again = None if redraw is None else lambda number: penalised(redraw(number))
  return types.UpperLevel(penalised(upper.function), again)
