"""Mini-batches drawn without replacement, as functions of the step's number."""

import bisect
import functools

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import types


def batch_indices(
  key: types.Key, step: types.Array | int, *, num_examples: int, batch_size: int
) -> types.Array:
  """The mini-batch of a step, in a stream of epochs without replacement.

  Epoch e is the permutation drawn from `fold_in(key, e)`, cut into whole mini-batches; the
  examples left over are not used in that epoch, and differ from epoch to epoch.

  Args:
    key: key of the stream; folded, not consumed.
    step: `[]` int, number of the mini-batch in the stream, from 0.
    num_examples: number of examples in the data.
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


def permutation(key: types.Key, size: types.Array, capacity: int) -> types.Array:
  """The permutation `jax.random.permutation(key, size)` for a size known on the device.

  That function sorts by random bits, in enough rounds to make ties in all of them unlikely.
  Here an array of length `capacity` is sorted, with entries from `size` on kept at the end.
  The result is the same, since the random bits of the first n entries do not depend on how
  many are drawn.

  Args:
    key: consumed.
    size: `[]` int, in [0, capacity].
    capacity: length of the result.

  Returns:
    int32 `[capacity]`: the permutation, then `size` to `capacity - 1` in order.
  """
  order = jnp.arange(capacity, dtype=jnp.int32)
  absent = order >= size
  for rounds in range(_num_rounds(capacity)):
    key, bits_key = jax.random.split(key)
    bits = jax.random.bits(bits_key, (capacity,), jnp.uint32)
    bits = jnp.where(absent, 0, bits)  # The sort is stable: these stay in order.
    *_, shuffled = jax.lax.sort((absent, bits, order), num_keys=2)
    # Sizes that need fewer rounds keep their order.
    order = jnp.where(size > _largest_size(rounds), shuffled, order)
  return order


def _num_rounds(size: int) -> int:
  """The number of sorting rounds in `jax.random.permutation`."""
  return int(np.ceil(3 * np.log(max(1, size)) / np.log(np.iinfo(np.uint32).max)))


@functools.cache
def _largest_size(num_rounds: int) -> int:
  """The largest size that is sorted in at most `num_rounds` rounds."""
  past = bisect.bisect_right(range(2**31), num_rounds, key=_num_rounds)
  return past - 1
