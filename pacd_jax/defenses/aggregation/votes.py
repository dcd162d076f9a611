"""The votes of models, and how many each class has."""

import chex
import jax
import jax.numpy as jnp

from pacd_jax.types import Array


def cast(logits: Array) -> Array:
  """The class of each model's largest logit, the smallest of equal ones: int32 `[M, B]`.

  Args:
    logits: float32 `[M, B, K]`, of M models.
  """
  chex.assert_rank(logits, 3)
  return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def count(votes: Array, num_classes: int) -> Array:
  """The votes that each class has: int32 `[M, B]` -> int32 `[B, K]`."""
  chex.assert_rank(votes, 2)
  return jax.nn.one_hot(votes, num_classes, dtype=jnp.int32).sum(axis=0)


def standing(counts: Array, label: Array) -> Array:
  """By how many votes a class is ahead of each, negative: behind: int32 `[B, K]`.

    n_c - n_c' - 1[c' < c]

  as the smaller label wins a tie. What it says of the class itself has no meaning.

  Args:
    counts: int32 `[B, K]`.
    label: c, int32 `[B]`.
  """
  chex.assert_rank([counts, label], [2, 1])
  own = jnp.take_along_axis(counts, label[:, None], axis=1)
  others = jnp.arange(counts.shape[1], dtype=jnp.int32)[None]
  return own - counts - (others < label[:, None])
