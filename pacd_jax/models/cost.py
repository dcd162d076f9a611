"""What a classifier costs, from its program alone: nothing is compiled or run."""

import jax
import jax.numpy as jnp

from pacd_jax import types


def forward_flops(
  model: types.Model, image_shape: tuple[int, int, int], batch_size: int
) -> float:
  """Floating-point operations of the logits of a batch, as XLA counts its program's.

  They are infinite where it does not count them.
  """
  params = jax.eval_shape(lambda key: model.init(key, image_shape), jax.random.key(0))
  images = jax.ShapeDtypeStruct((batch_size, *image_shape), jnp.float32)
  analysis = jax.jit(model.apply).lower(params, images).cost_analysis()
  return float("inf") if analysis is None else float(analysis.get("flops", 0.0))
