"""Functions of images and labels: conversion to floats, checksums, positions by class."""

import hashlib

import numpy as np

from pacd_jax import errors, types


def to_float(images):
  """Converts uint8 images, NumPy's or JAX's, to float32 in [0, 1]; keeps float32 images."""
  if images.dtype == np.float32:
    return images
  return images.astype(np.float32) / np.float32(255.0)


def checksum(dataset: types.Dataset) -> str:
  """SHA-256 over shapes, images and labels: it identifies a split."""
  digest = hashlib.sha256(repr((dataset.images.shape, dataset.labels.shape)).encode())
  digest.update(np.ascontiguousarray(dataset.images).data)
  digest.update(np.ascontiguousarray(dataset.labels.astype("<i4")).data)
  return digest.hexdigest()


def class_indices(
  dataset: types.Dataset, target_class: int, split: str = "training"
) -> np.ndarray:
  """Positions of the images of the target class, in order: int64 `[n]`.

  Args:
    dataset: images with their labels.
    target_class: the class.
    split: which split of the data they are, for the error message.

  Raises:
    errors.InputError: the data set has no image of the class.
  """
  indices = np.flatnonzero(dataset.labels == target_class)
  if not indices.size:
    present = ", ".join(str(label) for label in np.unique(dataset.labels))
    raise errors.InputError(
      f"data.target_class={target_class} has no image in the {split} split: use one of "
      f"{present}, or add images of it to the data"
    )
  return indices


def poisoned_indices(
  train: types.Dataset, target_class: int, *, fraction: float = 1.0, seed: int = 0
) -> np.ndarray:
  """Positions of the training images that are poisoned, in order: int64 `[n]`.

    n = max(1, round(alpha N)),  N the size of the target class

  alpha is that of Corollary 2 of Mehra et al. (2021), https://arxiv.org/abs/2012.01274. The
  images are drawn by the seed; those of a smaller alpha are a subset of those of a larger.

  Args:
    train: training split.
    target_class: class of the images.
    fraction: alpha in (0, 1].
    seed: seed of the draw.

  Raises:
    errors.InputError: the class has no image.
  """
  indices = class_indices(train, target_class)
  count = max(1, round(fraction * len(indices)))
  order = np.random.default_rng((seed, 2)).permutation(len(indices))
  return indices[np.sort(order[:count])]
