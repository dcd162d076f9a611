"""Compiling and computing on the backend at hand: its options, and what a dtype means."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from pacd_jax import types

# On CPU, XLA hands matrix products to YNNPACK where it can; in gradients, whose products
# contract the trailing axes, Eigen is the faster (`make bench`, `compiler_options`).
_CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}


@functools.cache
def _options() -> dict[str, Any] | None:
  if jax.default_backend() != "cpu":
    return None
  try:  # An option may be gone in another version of XLA.
    jax.jit(lambda: 0, compiler_options=_CPU_OPTIONS)()
  except Exception:
    return None
  return _CPU_OPTIONS


def jit(function, **kwargs):
  """`jax.jit(function, **kwargs)`, compiled with this backend's options at first call."""

  @functools.cache
  def compiled():
    return jax.jit(function, compiler_options=_options(), **kwargs)

  @functools.wraps(function)
  def call(*args, **kw):
    return compiled()(*args, **kw)

  call.lower = lambda *args, **kw: compiled().lower(*args, **kw)
  return call


def evaluate(
  apply: types.ApplyFn, params: types.Params, images: types.Array, dtype: str
) -> types.Array:
  """Logits, float32 `[B, K]`, of the classifier that a certificate of this dtype is for.

  float32: at full precision, where an accelerator would round the factors of products
  further by itself. bfloat16: parameters and images are rounded to it first.
  """
  if dtype == "float32":
    with jax.default_matmul_precision("highest"):
      return apply(params, images)
  params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)
  return apply(params, images.astype(dtype)).astype(jnp.float32)
