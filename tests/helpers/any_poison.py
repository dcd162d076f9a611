"""A poison of any images: one class, within the ball, as poison files hold it."""

import numpy as np

from pacd_jax import types


def make(images, base_images, **changes):
  """`n` images and their bases, uint8 `[n, H, W, C]`; the other fields may be changed."""
  num = len(images)
  fields = dict(
    labels=np.full(num, 8, np.int32),
    base_labels=np.full(num, 8, np.int32),
    indices=np.arange(num, dtype=np.int64),
    inserted=np.zeros(num, bool),
    clean_label=True,
    epsilon=0.1,
    norm="linf",
    target_class=8,
    dataset="digits",
    sigma=0.25,
    checksum="0",
    triggered=np.zeros(num, bool),
    goal=None,
  )
  return types.Poison(images=images, base_images=base_images, **(fields | changes))
