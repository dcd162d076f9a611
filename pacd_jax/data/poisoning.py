"""A training split with a poison in it."""

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import arrays


def apply_poison(train: types.Dataset, poison: types.Poison) -> types.Dataset:
  """The training split with the poison's images in their places; nothing else moves.

  Raises:
    errors.InputError: the poison was made for another training split, or does not say
      the truth about what stands at its indices.
  """
  if poison.checksum != arrays.checksum(train):
    raise errors.InputError(
      f"the poison was made for another training split of {poison.dataset!r} (its "
      "checksum differs): use the data and the seed that it was made with"
    )
  fits = (
    poison.indices.max(initial=0) < len(train.labels)
    and np.array_equal(train.labels[poison.indices], poison.labels)
    and np.array_equal(train.images[poison.indices], poison.base_images)
  )
  if not fits:
    raise errors.InputError(
      "the poison's base images or labels are not those at its indices in "
      f"{poison.dataset!r}: make it again"
    )
  images = train.images.copy()
  images[poison.indices] = poison.images
  return types.Dataset(images, train.labels)
