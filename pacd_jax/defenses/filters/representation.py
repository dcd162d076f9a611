"""What filters look at: pixels, or features of a model trained on the very data."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import arrays

KINDS = ("pixels", "features")
# Images uint8 `[n, H, W, C]` -> float32 `[n, D]`.
Represent = Callable[[np.ndarray], np.ndarray]


def make(
  name: str,
  training_set: types.TrainingSet,
  key: types.Key,
  tools: types.Tools,
  *,
  of: str,
) -> Represent:
  """Returns the function that turns images into vectors.

  Args:
    name: the filter's, for messages.
    training_set: the set that the model is trained on, poison and all.
    key: key of the training; consumed. Pixels need none.
    tools: for the model, and its training as a victim's.
    of: "pixels" in [0, 1], or "features", what the model's last layer takes, of images
      without noise.

  Raises:
    errors.InputError: `of` is neither, or the model shows no features.
  """
  if of == "pixels":
    return lambda images: arrays.to_float(images).reshape(len(images), -1)
  if of != "features":
    raise errors.InputError(
      f"filter {name!r} is to look at {of!r}: use one of {', '.join(KINDS)}"
    )
  features = tools.model.features
  if features is None:
    raise errors.InputError(
      f"filter {name!r} is to look at features, but the model shows none: use "
      f'of="pixels", in a config defense.{name}.of'
    )
  params = tools.train(training_set, key)
  return lambda images: in_batches(features, params, images)


def in_batches(
  function: types.ApplyFn, params: Any, images: np.ndarray, *, batch_size: int = 500
) -> np.ndarray:
  """Applies a compiled function to images without noise, in batches of one size.

  Args:
    function: `(params, images) -> [B, ...]`.
    params: its parameters.
    images: uint8 `[n, H, W, C]`.
    batch_size: images at a time; the last ones are filled up with black images.
  """
  compiled, found = jax.jit(function), []
  size = min(batch_size, len(images))
  for start in range(0, len(images), size):
    batch = arrays.to_float(images[start : start + size])
    filled = np.zeros((size, *batch.shape[1:]), np.float32)
    filled[: len(batch)] = batch
    found.append(np.asarray(compiled(params, filled))[: len(batch)])
  return np.concatenate(found)
