"""Deterministic certificates: a ball in which the base classifier itself cannot change.

A procedure verifies a ball by bounds of the network's outputs, and nothing is sampled. The
certified radius of a point is the largest of those tried that was verified, so that it
rests on one verified ball whether or not the procedure is monotone in the radius:

  R(x) = max {r tried: verified(x, r)},   r = 0, epsilon, most, then halvings between
"""

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types
from pacd_jax.certification import certificates, provenance
from pacd_jax.data import arrays
from pacd_jax.runtime import progress

_AT_ONCE = 100  # Images whose balls are bounded in one call.


@dataclasses.dataclass(frozen=True)
class Verification:
  """A classifier certified by bounds of its outputs: a `procedure.Procedure`, see there."""

  name: str
  verify: types.VerifyFn  # Of the classifier. Hashable: it is compiled once.
  norm: str  # Of its balls: one of `provenance.NORMS`.
  epsilon: float  # Radius at which verified accuracy is reported, above 0, image units.
  most: float  # Largest radius that is looked for, at least epsilon.
  num_halvings: int  # Steps of the bisection.
  num_classes: int  # K.
  # Further settings that the certificates depend on.
  options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  draws = False
  has_radius = True

  def __post_init__(self):
    """Raises errors.InputError where settings cannot be used, or contradict `verify`."""
    balls = getattr(self.verify, "norm", self.norm)
    for is_fine, words in (
      (self.norm in provenance.NORMS, f"norm {self.norm!r} is none of {provenance.NORMS}"),
      (balls == self.norm, f"norm={self.norm!r}, but `verify` is of balls of {balls!r}"),
      (0 < self.epsilon <= self.most < np.inf, "not 0 < epsilon <= most"),
      (0 <= self.num_halvings <= 23, "num_halvings is not from 0 to 23"),
      (self.num_classes >= 2, "num_classes is under 2"),
    ):
      if not is_fine:
        raise errors.InputError(f"procedure {self.name}: {words}")

  @property
  def radius(self) -> float:
    return self.epsilon

  def described(self) -> dict[str, Any]:
    """Its settings; radii are those of float32, in which balls are verified."""
    return {
      **self.options,
      "procedure": self.name,
      "norm": self.norm,
      "epsilon": float(np.float32(self.epsilon)),
      "most": float(np.float32(self.most)),
      "num_halvings": self.num_halvings,
      "dtype": provenance.DTYPES[0],
    }

  def check_memory(self, image_shape: tuple[int, int, int]) -> None:
    """Checks nothing: it holds few images at once."""

  def measured(self, params: types.Params, dataset: types.Dataset) -> dict[str, float]:
    """The verified accuracy over all classes."""
    return {provenance.VERIFIED_ACCURACY: self.verified_accuracy(params, dataset)}

  def certify(
    self,
    params: types.Params,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    key: types.Key | None = None,
  ) -> tuple[np.ndarray, np.ndarray]:
    """The base classifier's predictions, and the radii in which they are certain.

    Args:
      params: theta.
      images: uint8 or float32 `[B, H, W, C]` in [0, 1].
      labels, key: of no use to it.

    Returns:
      Predictions int64 `[B]` and radii float64 `[B]`, image units, of the norm; 0 where no
      ball was verified.

    Raises:
      errors.InputError: they are no images, or are not in [0, 1].
    """
    del labels, key
    _check(images)
    radii = (jnp.float32(self.epsilon), jnp.float32(self.most))
    of_parts = [
      _radii(self.verify, params, part, *radii, self.num_halvings)
      for part in _parts(images)
    ]
    predictions, found = (
      np.concatenate([np.asarray(part) for part in parts])[: len(images)]
      for parts in zip(*of_parts, strict=True)
    )
    return predictions.astype(np.int64), found.astype(np.float64)

  def verified_accuracy(self, params: types.Params, dataset: types.Dataset) -> float:
    """The share of images that are classified correctly in all of the ball of `epsilon`.

    (1/N) sum_i [f(x') = y_i for all x' with |x' - x_i| <= epsilon], bounded from below

    Its progress is shown, part by part.
    """
    total, is_right = len(dataset.labels), []
    shown = progress.Progress("verified accuracy", total, unit="images")
    for start, part in zip(range(0, total, _AT_ONCE), _parts(dataset.images), strict=True):
      radii = jnp.full(len(part), self.epsilon, jnp.float32)
      labels = dataset.labels[start : start + _AT_ONCE]
      predictions, holds = (
        np.asarray(found)[: len(labels)]
        for found in _verify(self.verify, params, part, radii)
      )
      is_right.append(holds & (predictions == labels))
      shown.update(start + len(labels))
    return float(np.mean(np.concatenate(is_right)))

  def certify_to_files(
    self,
    params: types.Params,
    dataset: types.Dataset,
    indices: np.ndarray,
    key: types.Key | None,
    path: str | os.PathLike,
    *,
    seed: int,
    extra: Mapping[str, Any] | None = None,
    on_point: Callable[..., None] | None = None,
    stops_early: bool = True,
  ) -> None:
    del key, stops_early
    images, labels = dataset
    chex.assert_rank([images, labels], [4, 1])
    sidecar = {**(extra or {}), **self.described()}
    sidecar |= {"seed": seed, "indices": indices, "num_classes": self.num_classes}
    none = np.zeros(0, np.int64)
    with certificates.Writer(path, sidecar) as writer:
      left = np.asarray(indices)[writer.num_done :]
      for start in range(0, len(left), _AT_ONCE):
        part = left[start : start + _AT_ONCE]
        began = time.monotonic()
        predictions, radii = self.certify(params, images[part])
        seconds = (time.monotonic() - began) / len(part)
        for idx, predicted, radius in zip(part, predictions, radii, strict=True):
          result = types.Certificate(int(predicted), float(radius), none)
          writer.append(idx, labels[idx], result, seconds=seconds)
          if on_point is not None:
            on_point(writer.num_done, len(indices), result, int(labels[idx]))


def _check(images: np.ndarray) -> None:
  shape, dtype = np.shape(images), getattr(images, "dtype", None)
  if len(shape) != 4 or not shape[0] or dtype not in (np.uint8, np.float32):
    raise errors.InputError(
      f"certify: images of shape {list(shape)} and dtype {dtype}: give uint8 or float32 "
      "[B, H, W, C], at least one"
    )
  low, high = (0.0, 1.0) if dtype == np.uint8 else (images.min(), images.max())
  if not (low >= 0.0 and high <= 1.0):
    raise errors.InputError(
      f"certify: images reach from {low:g} to {high:g}, and balls are cut with [0, 1]: "
      "scale them, and normalise in the classifier's first layer"
    )


def _parts(images: np.ndarray) -> list[np.ndarray]:
  """Float images in parts of one size, the last filled up with its last image."""
  starts = range(0, len(images), _AT_ONCE)
  parts = [arrays.to_float(images[start : start + _AT_ONCE]) for start in starts]
  lacking = _AT_ONCE - len(parts[-1])
  if len(parts) > 1 and lacking:
    parts[-1] = np.concatenate([parts[-1], np.repeat(parts[-1][-1:], lacking, axis=0)])
  return parts


@functools.partial(jax.jit, static_argnums=0)
def _verify(verify, params, images, radii):
  return verify(params, images, radii)


@functools.partial(jax.jit, static_argnums=(0, 5))
def _radii(verify, params, images, epsilon, most, num_halvings):
  """Predictions and the largest verified radii, `[B]`; see the file's docstring."""
  ones = jnp.ones(len(images), jnp.float32)
  predictions, at_epsilon = verify(params, images, epsilon * ones)
  _, at_most = verify(params, images, most * ones)
  verified = jnp.where(at_most, most, jnp.where(at_epsilon, epsilon, 0.0))
  refused = jnp.where(at_epsilon, most, epsilon)

  def halve(_, ends):
    verified, refused = ends
    middle = verified + 0.5 * (refused - verified)
    _, holds = verify(params, images, middle)
    return (
      jnp.where(holds, jnp.maximum(verified, middle), verified),
      jnp.where(holds, refused, middle),
    )

  # Where the largest is verified, what the halvings find is smaller.
  verified, _ = jax.lax.fori_loop(0, num_halvings, halve, (verified, refused * ones))
  return predictions, verified
