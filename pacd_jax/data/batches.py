"""Mini-batches without replacement, by number."""

import jax
import jax.numpy as jnp

from pacd_jax import types


def batch_indices(
  key: types.Key, step: types.Array, *, num_examples: int, batch_size: int
) -> types.Array:
  """The step's mini-batch in a stream of epochs without replacement.

  Epoch e is the permutation drawn from `fold_in(key, e)`, cut into whole batches; what
  does not fill a batch is left out and differs from epoch to epoch.

  Args:
    key: of the stream; folded, not consumed.
    step: `[]` int, number of the batch since the stream began.
    num_examples: size of the data.
    batch_size: at most `num_examples`.

  Returns:
    int32 `[batch_size]` in [0, num_examples).
  """
  batches_per_epoch = num_examples // batch_size
  epoch, position = step // batches_per_epoch, step % batches_per_epoch
  order = jax.random.permutation(jax.random.fold_in(key, epoch), num_examples)
  return jax.lax.dynamic_slice_in_dim(
    order.astype(jnp.int32), position * batch_size, batch_size
  )
