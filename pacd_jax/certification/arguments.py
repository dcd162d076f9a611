"""Checks of the arguments of `certify.certify`: each mistake is one line."""

import numbers
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors


def check_numbers(**given: Any) -> None:
  """Raises `errors.InputError` unless every value is a finite real number."""
  for name, value in given.items():
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not np.isfinite(float(value)):
      raise errors.InputError(f"certify: {name}={value!r}: give a finite number")


def check_counts(**given: Any) -> None:
  """Raises `errors.InputError` unless every value is a whole number, of an integer type."""
  for name, value in given.items():
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
      raise errors.InputError(
        f"certify: {name}={value!r}: give a whole number of type int, such as 100"
      )


def check_images(given: Any) -> None:
  """Raises `errors.InputError` unless images are float in [0, 1], the units of sigma."""
  if not isinstance(given, np.ndarray | jax.Array):
    raise errors.InputError(
      f"certify: images are of type {type(given).__name__}: give an array, float32 "
      "[B, H, W, C] in [0, 1]"
    )
  images = np.asarray(given)
  if images.ndim != 4 or not len(images) or images.dtype.kind != "f":
    raise errors.InputError(
      f"certify: images are {images.dtype} of shape {images.shape}: give float32 "
      "[B, H, W, C] in [0, 1] (of uint8: pacd_jax.data.arrays.to_float(images))"
    )
  if not np.isfinite(images).all():
    raise errors.InputError("certify: images hold numbers that are not finite (nan or inf)")
  if not (images.min() >= -1e-6 and images.max() <= 1.0 + 1e-6):
    raise errors.InputError(
      f"certify: images span [{images.min():g}, {images.max():g}]: scale them to [0, 1]"
    )


def check_key(key: Any) -> None:
  """Raises `errors.InputError` unless the key is one typed key."""
  is_key = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
  if not is_key or key.shape:
    raise errors.InputError(
      "certify: the key is no typed PRNG key: give jax.random.key(seed)"
    )


def check_labels(
  given: Sequence[int] | np.ndarray, num_images: int, num_classes: int
) -> None:
  """Raises `errors.InputError` unless labels are a class for each image."""
  labels = np.asarray(given)
  if labels.ndim != 1 or labels.dtype.kind not in "iu":
    raise errors.InputError(
      f"certify: labels are {labels.dtype} of shape {labels.shape}: give one integer for "
      "each image, [B] (of one-hot labels: labels.argmax(axis=1))"
    )
  if len(labels) != num_images:
    raise errors.InputError(
      f"certify: {num_images} images but {len(labels)} labels: give one for each image"
    )
  if num_images and not (labels.min() >= 0 and labels.max() < num_classes):
    raise errors.InputError(
      f"certify: labels are from {labels.min()} to {labels.max()}, but apply gives "
      f"{num_classes} logits: give labels in 0..{num_classes - 1}"
    )
