"""Tests have three devices; implicit broadcasting and a key's second use are errors.

Most of their time is XLA's compilation, which is faster with few of LLVM's
optimisations; `make demo` and every run have them.
"""

import os

os.environ["XLA_FLAGS"] = " ".join(
  [os.environ.get("XLA_FLAGS", ""), "--xla_backend_optimization_level=1"]
)

import jax

jax.config.update("jax_num_cpu_devices", 3)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
