"""Tests have three devices; implicit broadcasting and a key's second use are errors."""

import jax

jax.config.update("jax_num_cpu_devices", 3)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
