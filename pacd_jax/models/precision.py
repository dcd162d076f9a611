"""The meaning of a certificate's dtype: how the classifier that it is for is evaluated."""

import chex
import jax
import jax.numpy as jnp

from pacd_jax import types


def evaluate(
  apply: types.ApplyFn, params: types.Params, images: types.Array, dtype: str
) -> types.Array:
  """Logits, float32 `[B, K]`, of the classifier that a certificate of this dtype is for.

  float32: matrix products are at full precision, while accelerators round their factors by
  default. bfloat16: parameters and images are rounded to bfloat16 first.
  """
  chex.assert_rank(images, 4)
  if dtype == "float32":
    with jax.default_matmul_precision("highest"):
      return apply(params, images)
  params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)
  return apply(params, images.astype(dtype)).astype(jnp.float32)
