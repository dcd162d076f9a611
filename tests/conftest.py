"""Every test refuses implicit broadcasting and the second use of a random key."""

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
