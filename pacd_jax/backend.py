"""Compiling for the backend at hand: `jit` is `jax.jit` with the options it needs."""

import functools
from typing import Any

import jax

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
