"""Randomized smoothing that is sound in floating-point arithmetic: `certify.sound`.

In float32, x + e is rounded, and its last bits can tell x: certificates of Cohen et al.
(2019) can then be wrong by far more than a rounding. Voracek and Hein (2023), "Sound
Randomized Smoothing in Floating-Point Arithmetics", https://arxiv.org/abs/2207.07209.

Here pixels and noise are whole numbers of steps 1/L, L = 255 2^m, and their sum is exact.
With round to the grid of these steps, and f the program's classifier, a function of grid
points, let F(z) = f(round(z)) and G(z) = argmax_c P[F(z + e) = c], e ~ N(0, sigma^2 I).

Theorem. Let x be an 8-bit image, E the noise that `rounded_gaussian` samples from fair
bits, and p_A <= P[f(x + E) = c]. With p = p_A - D delta > 1/2, D the image's numbers and
delta the total variation between one of E and round(e), G(x + d) = c for every real d with
|d|_2 < sigma Phi^-1(p); and for all grid points x', among them all 8-bit images,
G(x') = argmax_c P[f(x' + round(e)) = c].

Proof. F is a function of real points, so that Cohen et al.'s theorem is exact for G:
rounding is a part of its classifier. For x on the grid round(x + e) = x + round(e) but for
ties, which have probability 0. Coupling each of the D numbers of E and of round(e) gives
P[f(x + round(e)) = c] >= P[f(x + E) = c] - D delta.

`SLACK` is taken from p_A for D delta. What is assumed: the generator's bits are fair and
independent, and f's logits of an image do not depend on what else is in its batch.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.special

from pacd_jax import errors
from pacd_jax.certification import rounded_gaussian
from pacd_jax.certification.rules.rule import Rule
from pacd_jax.types import Certificate

SUFFIX = "_sound"  # Of the bound's name.
SLACK = 1e-9  # Taken from p_A: at least D delta, which `check_images` makes sure of.
_LEAST_STD = 32.0  # Of the noise in steps: rounding then adds 0.01 % to its variance.
_LEAST_SIGMA, _MOST_SIGMA = 1e-5, 16.0
_DTYPE = "float32"


def levels(sigma: float) -> int:
  """L = 255 2^m with the least m >= 0 for which sigma is 32 steps or more."""
  return 255 * 2 ** max(0, math.ceil(math.log2(_LEAST_STD / (255.0 * sigma))))


def std(sigma: float) -> float:
  """The standard deviation of the noise in steps: sigma L."""
  return sigma * levels(sigma)


def check(*, sigma: float, dtype: str) -> None:
  """Raises `errors.InputError` for settings that sound mode does not have."""
  if dtype != _DTYPE:
    raise errors.InputError(
      f"certify: sound=True with dtype={dtype!r}: its numbers do not hold image plus noise "
      f"exactly; use {_DTYPE}, or sound=False"
    )
  if not _LEAST_SIGMA <= sigma <= _MOST_SIGMA:
    raise errors.InputError(
      f"certify: sound=True with sigma={sigma}: its grid is for sigma of {_LEAST_SIGMA:g} "
      f"to {_MOST_SIGMA:g}; use such a sigma, or sound=False"
    )


def check_images(images: Any, sigma: float) -> None:
  """Raises `errors.InputError` unless images are of 8 bits, and `SLACK` covers their size.

  Args:
    images: `[M, H, W, C]`, uint8 or float32 in [0, 1].
    sigma: standard deviation of the noise.
  """
  images = np.asarray(images)
  delta = rounded_gaussian.distribution(std(sigma)).distance
  if (size := math.prod(images.shape[1:])) * delta > SLACK:
    raise errors.InputError(
      f"certify: sound=True on images of {size} numbers: its noise is accurate enough for "
      f"up to {int(SLACK / delta)}; use smaller images, or sound=False"
    )
  if images.dtype == np.uint8:
    return
  images = images.astype(np.float32)
  steps = np.round(images * np.float32(255.0))
  if (bad := np.flatnonzero(steps / np.float32(255.0) != images)).size:
    place = ", ".join(map(str, np.unravel_index(bad[0], images.shape)))
    raise errors.InputError(
      f"certify: sound=True, but images[{place}] is {images.flat[bad[0]]:.9g}, no multiple "
      "of 1/255 as float32: round images to 8 bits first, and give those"
    )


def of_rule(rule: Rule, sigma: float) -> Rule:
  """The rule with sound certificates, whose bound's name says so."""

  def start(label: int | None):
    result = yield from rule.start(label)
    return certificate(result, sigma)

  bound = rule.sidecar["bound"] + SUFFIX
  own = {"bound": bound, "sound": True, "levels": levels(sigma), "slack": SLACK}
  return rule._replace(start=start, sidecar={**rule.sidecar, **own})


def check_sidecar(sidecar: Mapping[str, Any]) -> None:
  """Raises ValueError if a sidecar's fields of sound mode are not as it writes them."""
  names = ("sound", "levels", "slack")
  if not (there := [name for name in names if name in sidecar]):
    return
  sigma, dtype = sidecar["sigma"], sidecar["dtype"]
  expected = [True, levels(sigma) if _LEAST_SIGMA <= sigma <= _MOST_SIGMA else 0, SLACK]
  if there != [*names] or [sidecar[name] for name in names] != expected:
    found = ", ".join(f"{name} {sidecar.get(name)!r}" for name in names)
    raise ValueError(f"{found} are not what sound certificates at sigma {sigma} have")
  if dtype != _DTYPE:
    raise ValueError(f"sound certificates in {dtype}, of which there are none")


def certificate(ordinary: Certificate, sigma: float) -> Certificate:
  """The sound certificate of the same votes; it abstains if p_A - `SLACK` is under 1/2."""
  if ordinary.prediction < 0:
    return ordinary
  lowered = float(radius(ordinary.radius, sigma=sigma))
  if lowered < 0.0:
    return ordinary._replace(prediction=-1, radius=0.0)
  return ordinary._replace(radius=lowered)


def radius(ordinary, *, sigma: float, slack: float = SLACK) -> np.float64 | np.ndarray:
  """sigma Phi^-1(Phi(R / sigma) - slack), -inf where that is of no probability."""
  p_a = scipy.special.ndtr(np.asarray(ordinary) / sigma) - slack
  return sigma * scipy.special.ndtri(np.maximum(p_a, 0.0))
