"""The random streams of a run: its rows' by their entries, its stages' by number."""

import zlib

import jax

from pacd_jax import types
from pacd_jax.experiment import kinds

# The streams that no row has.
TRAIN, CERTIFY = 2, 3
DEFEND, STOP, DECAY, INSIDE, FEATURES, CLEANSE, SURROGATE = range(8, 15)
MANIFOLD = 16


def row_key(root: types.Key, entry: kinds.Row) -> types.Key:
  """The row's key, folded from the run's by the entry's stream, or else by its name."""
  stream = entry.stream
  if stream is None:
    stream = 2**31 + zlib.crc32(entry.name.encode()) % 2**31
  return jax.random.fold_in(root, stream)
