"""Deterministic certificates: a ball in which the base classifier itself cannot change.

A procedure verifies a ball by bounds of the network's outputs, and nothing is sampled. The
certified radius of a point is the largest of those tried that was verified, so that it
rests on one verified ball whether or not the procedure is monotone in the radius:

  R(x) = max {r tried: verified(x, r)},   r = 0, epsilon, most, then halvings between
"""

import functools
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import types
from pacd_jax.certification import certificates, provenance
from pacd_jax.data import arrays
from pacd_jax.runtime import progress

_AT_ONCE = 100  # Images whose balls are bounded in one call.


class Settings(NamedTuple):
  """A deterministic procedure with its settings: what it certifies, and how."""

  name: str
  verify: types.VerifyFn  # Hashable: it is compiled once.
  norm: str  # Of its balls: one of `provenance.NORMS`.
  epsilon: float  # Radius at which verified accuracy is reported, above 0, image units.
  most: float  # Largest radius that is looked for, at least epsilon.
  num_halvings: int  # Steps of the bisection.
  options: Mapping[str, Any] = {}  # Further settings that the certificates depend on.


def described(settings: Settings) -> dict[str, Any]:
  """The settings in a sidecar; radii are those of float32, in which balls are verified."""
  return {
    **settings.options,
    "procedure": settings.name,
    "norm": settings.norm,
    "epsilon": float(np.float32(settings.epsilon)),
    "most": float(np.float32(settings.most)),
    "num_halvings": settings.num_halvings,
    "dtype": provenance.DTYPES[0],
  }


def certify(
  settings: Settings, params: types.Params, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """The base classifier's predictions, and the radii in which they are certain.

  Args:
    settings: what is certified, and how.
    params: theta.
    images: uint8 or float32 `[B, H, W, C]` in [0, 1].

  Returns:
    Predictions int64 `[B]` and radii float64 `[B]`, image units, of the procedure's norm;
    0 where no ball was verified.
  """
  chex.assert_rank(images, 4)
  of_parts = [
    _radii(
      settings.verify,
      params,
      part,
      jnp.float32(settings.epsilon),
      jnp.float32(settings.most),
      settings.num_halvings,
    )
    for part in _parts(images)
  ]
  predictions, radii = (
    np.concatenate([np.asarray(part) for part in parts])[: len(images)]
    for parts in zip(*of_parts, strict=True)
  )
  return predictions.astype(np.int64), radii.astype(np.float64)


def verified_accuracy(
  settings: Settings, params: types.Params, dataset: types.Dataset
) -> float:
  """The share of images that are classified correctly in all of the ball of `epsilon`.

  (1/N) sum_i [f(x') = y_i for all x' with |x' - x_i| <= epsilon], bounded from below

  Its progress is shown, part by part.
  """
  total, is_right = len(dataset.labels), []
  shown = progress.Progress("verified accuracy", total, unit="images")
  for start, part in zip(range(0, total, _AT_ONCE), _parts(dataset.images), strict=True):
    radii = jnp.full(len(part), settings.epsilon, jnp.float32)
    labels = dataset.labels[start : start + _AT_ONCE]
    predictions, holds = (
      np.asarray(found)[: len(labels)]
      for found in _verify(settings.verify, params, part, radii)
    )
    is_right.append(holds & (predictions == labels))
    shown.update(start + len(labels))
  return float(np.mean(np.concatenate(is_right)))


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


def certify_to_files(
  settings: Settings,
  params: types.Params,
  images: np.ndarray,
  labels: np.ndarray,
  indices: np.ndarray,
  path: str | os.PathLike,
  *,
  seed: int,
  num_classes: int,
  extra: Mapping[str, Any] | None = None,
  on_point: Callable[..., None] | None = None,
) -> None:
  """Certifies test points into the files of `path` (`certificates`), or resumes them.

  Args:
    settings, params: as for `certify`.
    images: uint8 `[N, H, W, C]`, the split.
    labels: int `[N]`.
    indices: int `[M]` in [0, N), the points to certify, in this order.
    path: `DIR/seed_<k>`.
    seed: the victim's seed.
    num_classes: K.
    extra: further fields of the sidecar, which its own fields override.
    on_point: as for `certify.certify_to_files`.

  Raises:
    errors.InputError: the files cannot be resumed.
  """

  chex.assert_rank([images, labels], [4, 1])
  sidecar = {**(extra or {}), **described(settings)}
  sidecar |= {"seed": seed, "indices": indices, "num_classes": num_classes}
  none = np.zeros(0, np.int64)
  with certificates.Writer(path, sidecar) as writer:
    left = np.asarray(indices)[writer.num_done :]
    for start in range(0, len(left), _AT_ONCE):
      part = left[start : start + _AT_ONCE]
      began = time.monotonic()
      predictions, radii = certify(settings, params, images[part])
      seconds = (time.monotonic() - began) / len(part)
      for idx, predicted, radius in zip(part, predictions, radii, strict=True):
        result = types.Certificate(int(predicted), float(radius), none)
        writer.append(idx, labels[idx], result, seconds=seconds)
        if on_point is not None:
          on_point(writer.num_done, len(indices), result, int(labels[idx]))
