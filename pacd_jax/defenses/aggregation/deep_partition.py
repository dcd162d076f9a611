"""Deep Partition Aggregation: the plurality of models of disjoint parts."""

import chex
import jax
import jax.numpy as jnp

from pacd_jax.defenses.aggregation import votes
from pacd_jax.types import Array


def certify(logits: Array) -> tuple[Array, Array]:
  """The plurality vote, and how many images cannot move it.

    rho = floor((n_c - max_{c' != c} (n_c' + 1[c' < c])) / 2),  n_c the votes for class c

  A changed image, in the partition's unit, changes one model, which takes a vote from c and
  gives it to c'. Ties are won by the smaller label. The radius is exact over all changes of
  votes. DPA of Levine and Feizi (2021), https://arxiv.org/abs/2006.14768.

  Args:
    logits: float32 `[M, B, K]`, of one model for each part; K >= 2.

  Returns:
    The class, int32 `[B]`, and rho, int32 `[B]`, from 0 to M / 2.
  """
  return from_counts(votes.count(votes.cast(logits), logits.shape[-1]))


def from_counts(counts: Array) -> tuple[Array, Array]:
  """The same from the votes of each class, int32 `[B, K]`."""
  chex.assert_rank(counts, 2)
  label = jnp.argmax(counts, axis=1).astype(jnp.int32)
  ahead = votes.standing(counts, label)
  own = jax.nn.one_hot(label, counts.shape[1], dtype=bool)
  most = jnp.iinfo(jnp.int32).max
  return label, jnp.min(ahead, axis=1, initial=most, where=~own) // 2
