"""Finite Aggregation: the plurality of models of parts that overlap."""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp

from pacd_jax.defenses.aggregation import votes
from pacd_jax.types import Array


def certify(logits: Array, offsets: Sequence[int]) -> tuple[Array, Array]:
  """The plurality vote, and how many images cannot move it.

  A changed image, in the partition's unit, is in one part h, and so changes the d models
  (h + s) mod M, s an offset. Of the lead of c over c' that can take at most

    delta_h = sum_s (1 + 1[v = c] - 1[v = c']),  v the vote of model (h + s) mod M

  so that rho is, over all c', the least number of parts, the largest delta_h first, whose
  sum stays within n_c - n_c' - 1[c' < c]. Ties are won by the smaller label. Wang, Levine
  and Feizi (2022), https://arxiv.org/abs/2202.02628.

  A model of two changed parts is counted twice: rho is a lower bound of what all changes of
  votes say. With offsets (0,) it is exact, and the one of `deep_partition`.

  Args:
    logits: float32 `[M, B, K]`, M = k d; K >= 2.
    offsets: d different ones in [0, M), those of `partitions.members`.

  Returns:
    The class, int32 `[B]`, and rho, int32 `[B]`.
  """
  chex.assert_rank(logits, 3)
  num_classes, most = logits.shape[-1], 2 * len(offsets)
  cast = votes.cast(logits)
  counts = votes.count(cast, num_classes)
  label = jnp.argmax(counts, axis=1).astype(jnp.int32)
  ahead = votes.standing(counts, label)

  def within(other: Array) -> Array:
    """The number of parts that leave c ahead of one other class: int32 `[B]`."""
    gain = 1 + (cast == label[None]).astype(jnp.int32) - (cast == other)
    delta = sum(jnp.roll(gain, -offset, axis=0) for offset in offsets)

    def take(carry, size):
      """The parts of one delta_h; after the first that is too large, none."""
      left, radius = carry
      there = (delta == size).sum(axis=0, dtype=jnp.int32)
      taken = jnp.minimum(there, left // size)
      left = jnp.where(taken < there, 0, left - taken * size)
      return (left, radius + taken), None

    start = jnp.maximum(0, ahead[:, other]), jnp.zeros_like(label)
    (_, radius), _ = jax.lax.scan(take, start, jnp.arange(most, 0, -1, dtype=jnp.int32))
    return jnp.where(other == label, len(cast), radius)

  # One class after the other: memory is for one.
  return label, jax.lax.map(within, jnp.arange(num_classes)).min(axis=0)
