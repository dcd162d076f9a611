"""Run-Off Election: models of disjoint parts vote twice, the second time between two."""

import chex
import jax
import jax.numpy as jnp

from pacd_jax.defenses.aggregation import votes
from pacd_jax.types import Array

_NEVER = jnp.iinfo(jnp.int32).max // 4


def certify(logits: Array) -> tuple[Array, Array]:
  """The winner of the run-off between the two classes of most votes, and its certificate.

  In round 1 a model votes for its largest logit; in round 2 for the larger one of those of
  the two classes that have most votes. All ties are won by the smaller label, and logits of
  different models are not compared. Rezaei et al. (2023), https://arxiv.org/abs/2302.02300.

  The winner c stays as long as neither of these can be: two classes overtake it in round 1,
  or it meets a class b in round 2 and loses. For the second, b has to overtake the other
  class of the run-off in round 1, and c in round 2. The votes by which b is behind a in
  round 1 are g(a, b) = n_a - n_b + 1[b > a], at least 0; those in a round 2 of c and b are
  h(c, b). Then

    rho = min(min_{a, b} overtake(g(c, a), g(c, b)),
              min_b max(ceil(g(o, b) / 2), ceil(h(c, b) / 2))) - 1

  with o the other class, g(o, o) = 0, and `overtake` as below. The radius is sound, but not
  tight: b may have more to overtake than o, and the models that change in round 1 need not
  be those that help in round 2. With two classes it is the one of `deep_partition`.

  Args:
    logits: float32 `[M, B, K]`, of one model for each part; K >= 2.

  Returns:
    The class, int32 `[B]`, and rho, int32 `[B]`, the number of changed images, in the
    partition's unit, that cannot move it.
  """
  chex.assert_rank(logits, 3)
  num_classes = logits.shape[-1]
  counts = votes.count(votes.cast(logits), num_classes)
  label, other = _winner(logits, counts)
  is_label = jax.nn.one_hot(label, num_classes, dtype=bool)
  is_other = jax.nn.one_hot(other, num_classes, dtype=bool)

  behind = jnp.where(is_label, _NEVER, _behind(counts, label))
  nearest = jnp.sort(behind, axis=1)
  if num_classes > 2:  # The least of all pairs is of the two nearest.
    leaves = overtake(nearest[:, 0], nearest[:, 1])
  else:
    leaves = jnp.full_like(label, _NEVER)

  enters = jnp.where(is_other, 0, _behind(counts, other))
  second = _duels(logits, label)
  wins = jnp.maximum(0, 2 * second - len(logits) + _larger(label, num_classes))
  loses = jnp.where(is_label, _NEVER, jnp.maximum(-(-enters // 2), -(-wins // 2)))
  return label, jnp.minimum(leaves, loses.min(axis=1)) - 1


def overtake(first: Array, second: Array) -> Array:
  """The least number of models that let two classes overtake a third one.

  A model that turns from it to one of them brings that one nearer by 2 votes, and the other
  by 1: the least t = a + b with 2 a + b >= i and a + 2 b >= j is

    max(ceil(i / 2), ceil(j / 2), ceil((i + j) / 3))

  which is the paper's recursion A[i, j] = 1 + min(A[i - 2, j - 1], A[i - 1, j - 2]).

  Args:
    first: i, the votes by which one class is behind, int, at least 0.
    second: j, of the other, of the same shape.
  """
  both = -(-(first + second) // 3)
  return jnp.maximum(both, jnp.maximum(-(-first // 2), -(-second // 2)))


def _winner(logits: Array, counts: Array) -> tuple[Array, Array]:
  """The winner of the run-off and the class that it met: int32 `[B]` each."""
  # Of equal counts, the smaller labels are first, and stay apart.
  top = jax.lax.top_k(counts, 2)[1].astype(jnp.int32)
  low, high = top.min(axis=1), top.max(axis=1)
  for_low = jnp.take_along_axis(_duels(logits, low), high[:, None], axis=1)[:, 0]
  low_wins = 2 * for_low >= len(logits)
  return jnp.where(low_wins, low, high), jnp.where(low_wins, high, low)


def _duels(logits: Array, label: Array) -> Array:
  """The votes for a class where it alone meets each other one: int32 `[B, K]`."""
  own = jnp.take_along_axis(logits, label[None, :, None], axis=2)
  smaller = _larger(label, logits.shape[2])[None]  # The class has the smaller label.
  return ((own > logits) | ((own == logits) & smaller)).sum(axis=0, dtype=jnp.int32)


def _behind(counts: Array, label: Array) -> Array:
  """The votes by which each class is behind one, at least 0: int32 `[B, K]`."""
  return jnp.maximum(0, 1 + votes.standing(counts, label))


def _larger(label: Array, num_classes: int) -> Array:
  """Whether each class has a larger label: bool `[B, K]`."""
  return jnp.arange(num_classes)[None] > label[:, None]
