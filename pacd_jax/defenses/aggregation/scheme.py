"""What an ensemble's aggregation is: what each network sees, and what their votes certify.

A certificate against poisoning says how many training images an attacker may change, in the
unit of its scheme, before the ensemble's prediction of one test image can move.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pacd_jax import types
from pacd_jax.defenses.aggregation import partitions


class Scheme(NamedTuple):
  """An aggregation with its options."""

  num_models: int  # M, networks of one victim.
  unit: str  # What a radius counts, such as "replaced images".
  # The networks' images, of a victim's training set; None: all images for every network.
  members: Callable[[types.TrainingSet], partitions.Members] | None
  # How much of a training set another one changes, in the unit.
  size: Callable[[types.TrainingSet, types.TrainingSet], float]
  # `predict(logits)`: classes int32 `[B]` of `[M, B, K]`; pure JAX.
  predict: Callable[[types.Array], types.Array]
  # `certify(logits)`: `(classes [B], radii [B])`, -1 for an abstention. Pure JAX, and whole
  # numbers, where networks have images of their own; else on the host.
  certify: Callable[[types.Array], tuple[Any, Any]]
  # How many of a network's classes, in falling order of its logits, predictions depend on;
  # 0: all.
  depth: int = 1
  spread: int = 1  # How many networks have an image.
  positional: bool = True  # Networks know images by their positions.

  @property
  def largest_radius(self) -> int:
    """No certificate is of more changed images."""
    return self.num_models // self.spread // 2


def orders(logits: types.Array, depth: int) -> types.Array:
  """Each network's first classes, uint8 `[M, B, depth]`; equal logits by rising class.

  Args:
    logits: float `[M, B, K]`, K at most 256.
    depth: how many; 0: all K.
  """
  depth = depth or logits.shape[-1]
  if depth == 1:
    return jnp.argmax(logits, axis=-1)[..., None].astype(jnp.uint8)
  order = jnp.argsort(-logits, axis=-1, stable=True)
  return order[..., :depth].astype(jnp.uint8)


def as_logits(order: types.Array, num_classes: int) -> types.Array:
  """Logits `[M, B, K]` of the order `[M, B, depth]`: depth for the first, 0 for others."""
  depth = order.shape[-1]
  heights = jnp.arange(depth, 0, -1, dtype=jnp.float32)
  ones = jax.nn.one_hot(order, num_classes, dtype=jnp.float32)
  return (heights[None, None, :, None] * ones).sum(axis=-2)
