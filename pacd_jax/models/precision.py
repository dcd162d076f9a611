"""What the dtype beside a certificate means: which classifier it is that was evaluated."""

import chex
import jax
import jax.numpy as jnp

from pacd_jax import types


def evaluate(
  apply: types.ApplyFn, params: types.Params, images: types.Array, dtype: str
) -> types.Array:
  """Logits, float32 `[B, K]`, of the classifier that a certificate of this dtype is for.

  float32: at full precision, where an accelerator would round the factors of products
  further by itself. bfloat16: parameters and images are rounded to it first.
  """
  chex.assert_rank(images, 4)
  if dtype == "float32":
    with jax.default_matmul_precision("highest"):
      return apply(params, images)
  params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)
  return apply(params, images.astype(dtype)).astype(jnp.float32)
