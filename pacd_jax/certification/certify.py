"""Monte-Carlo certification of a smoothed classifier's predictions.

The smoothed classifier is g(x) = argmax_c P[f(x + e) = c], e ~ N(0, sigma^2 I). With a
probability of at least 1 - alpha over the sampling, a certificate that does not abstain
is right: g(x + d) is its prediction for every perturbation d with |d|_2 < its radius.
The rules are algorithm CERTIFY of Cohen et al. (2019), https://arxiv.org/abs/1902.02918,
and the others of `sampling`, which draw fewer samples.

Votes are counted on the device (`votes`), for several points in one call
(`point_stream`); the statistics are float64 SciPy on the host.
"""

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors
from pacd_jax.certification import (
  arguments,
  certificates,
  exact_noise,
  point_stream,
  provenance,
  sampling,
  soundness,
  votes,
)
from pacd_jax.certification.rules.rule import Rule
from pacd_jax.data import arrays
from pacd_jax.runtime import sharding
from pacd_jax.types import ApplyFn, Array, Certificate, Key, Params

# `certify_points(params, images, keys, labels=None, names=None)` yields one
# `(certificate, seconds)` per point, in the order of the points: see `make_certifier`.
CertifyPointsFn = Callable[..., Iterator[tuple[Certificate, float]]]
# `on_point(num_done, total, certificate, label)`.
ProgressFn = Callable[[int, int, Certificate, int], None]


class Settings(NamedTuple):
  """The settings of certification: see `make_certifier`."""

  sigma: float
  n0: int
  n: int
  alpha: float
  mode: str = "fixed"
  options: Any = None  # The mode's options, an instance of its entry's dataclass.
  dtype: str = "float32"
  batch_size: int = 1000
  sound: bool = False


def make_certifier(
  apply: ApplyFn,
  *,
  sigma: float,
  n0: int,
  n: int,
  alpha: float,
  mode: str = "fixed",
  options: Any = None,
  dtype: str = "float32",
  batch_size: int = 1000,
  sound: bool = False,
  mesh: jax.sharding.Mesh | None = None,
) -> CertifyPointsFn:
  """Makes `certify_points(params, images, keys, labels=None, names=None)`.

  The function yields `(certificate, seconds)` for each point in order; seconds are the
  point's share, by samples, of the calls' time. It takes images `[M, H, W, C]`, uint8 or
  float in [0, 1]; keys `[M]`, consumed; labels, int `[M]`, which let some rules stop
  early; and names `[M]` of the points in error messages, by default their positions.

  It is compiled once for all certifiers with the same `apply`, batch_size, dtype, mesh and
  shapes.

  Args:
    apply: logits of the base classifier f, which predicts their argmax.
    sigma: standard deviation of the noise, in the units of the images ([0, 1]); noisy
      images are not clipped.
    n0: number of samples that choose the class.
    n: largest number of samples that bound its probability; the exact number in mode fixed.
    alpha: probability in (0, 1) that a certificate is wrong.
    mode: a sampling rule, one of `sampling.RULES`.
    options: the rule's options, an instance of its entry's dataclass; None: its defaults.
    dtype: one of `provenance.DTYPES`. In bfloat16 the parameters and the noisy images
      are rounded first, and the certificates are for that rounded classifier.
    batch_size: noisy copies that a device evaluates at once, of any points; votes do not
      depend on it.
    sound: whether certificates hold in floating-point arithmetic, too: the noise is on the
      grid of 8-bit images, and these alone are certified (`soundness.py`).
    mesh: the devices, by default `sharding.mesh()`; votes do not depend on them.

  Raises:
    InputError: a setting is out of range, or n cannot certify at this alpha; raised by
      `certify_points` if images are not of 8 bits and `sound` asks for that.
    NonFiniteError: raised by `certify_points` if a sample's logits are not finite.
  """
  settings = Settings(sigma, n0, n, alpha, mode, options, dtype, batch_size, sound)
  return by_rule(rule_of(settings), apply, settings, mesh=mesh)


def by_rule(
  rule: Rule,
  apply: ApplyFn,
  settings: Settings,
  *,
  mesh: jax.sharding.Mesh | None = None,
) -> CertifyPointsFn:
  """`make_certifier` with a rule, whose settings `rule_of` has checked."""
  mesh = mesh or sharding.mesh()
  noise, batch_size = noise_of(settings), settings.batch_size
  static = dict(apply=apply, dtype=settings.dtype, batch_size=batch_size, mesh=mesh)

  def certify_points(
    params: Params,
    images: Array,
    keys: Key,
    labels: Sequence[int] | np.ndarray | None = None,
    names: Sequence[Any] | None = None,
  ):
    chex.assert_rank([images, keys], [4, 1])
    if settings.sound:
      soundness.check_images(images, settings.sigma)
    if labels is not None:
      arguments.check_labels(
        labels, len(images), votes.num_classes(apply, params, images.shape[1:])
      )
    params = sharding.replicate(params, mesh)
    key_data, impl = np.asarray(jax.random.key_data(keys)), jax.random.key_impl(keys)
    known = itertools.repeat(None) if labels is None else map(int, labels)
    names = range(len(images)) if names is None else names
    points = (
      point_stream.Point(rule(label), _to_float(image), key, name)
      for label, image, key, name in zip(known, images, key_data, names, strict=False)
    )

    def start(window, key_data, first, count):
      arrays = (window, key_data, first, count)
      drawn = votes.draw(params, *arrays, noise, impl=str(impl), **static)
      return sharding.to_all(drawn, mesh)

    return point_stream.run(start, points, batch_size * mesh.size)

  return certify_points


def rule_of(settings: Settings) -> Rule:
  """Returns the sampling rule; raises InputError for a setting out of range."""
  batch_size, dtype = settings.batch_size, settings.dtype
  arguments.check_numbers(sigma=settings.sigma, alpha=settings.alpha)
  arguments.check_counts(n0=settings.n0, n=settings.n, batch_size=batch_size)
  most = votes.most_batches(sharding.mesh().size)  # One call has a batch on each device.
  if not 1 <= batch_size <= most:
    raise errors.InputError(
      f"certify: out of range: batch_size={batch_size}: use 1 to {most}"
    )
  if dtype not in provenance.DTYPES:
    known = ", ".join(provenance.DTYPES)
    raise errors.InputError(f"certify: dtype={dtype!r}: use one of {known}")
  if settings.sound:
    soundness.check(sigma=settings.sigma, dtype=dtype)
  rule = sampling.make(
    settings.mode,
    sigma=settings.sigma,
    n0=settings.n0,
    n=settings.n,
    alpha=settings.alpha,
    options=settings.options,
  )
  return soundness.of_rule(rule, settings.sigma) if settings.sound else rule


def noise_of(settings: Settings) -> np.float32 | exact_noise.Noise:
  """The settings' noise, as `votes.draw` takes it."""
  return (exact_noise.make if settings.sound else np.float32)(settings.sigma)


def _to_float(image: Array) -> np.ndarray:
  host = np.asarray(image)
  return arrays.to_float(host) if host.dtype == np.uint8 else host.astype(np.float32)


# --- arrays and files -----------------------------------------------------------------


def certify(
  apply: ApplyFn,
  params: Params,
  images: Array,
  key: Key,
  *,
  sigma: float,
  n0: int,
  n: int,
  alpha: float,
  mode: str = "fixed",
  options: Any = None,
  labels: Sequence[int] | np.ndarray | None = None,
  dtype: str = "float32",
  batch_size: int = 1000,
  sound: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Certifies a batch of images; image i uses fold_in(key, i).

  Args:
    images: float `[B, H, W, C]` in [0, 1], B >= 1.
    key: consumed.
    labels: int `[B]`; modes adaptive and aca stop early if n0 votes favour another class.
    sigma, n0, n, alpha, mode, options, dtype, batch_size, sound: as for `make_certifier`.

  Returns:
    Predictions int64 `[B]`, -1 for abstentions; certified l2 radii float64 `[B]` in image
    units; votes behind the bounds int64 `[B, K]`.

  Raises:
    InputError: as for `make_certifier`; or images have another type, shape or range,
      logits are not `[B, K]`, or a batch does not fit into memory.
    NonFiniteError: a sample's logits are not finite.
  """
  arguments.check_images(images)
  arguments.check_key(key)
  settings = Settings(sigma, n0, n, alpha, mode, options, dtype, batch_size, sound)
  certify_points = make_certifier(apply, **settings._asdict())
  shape = images.shape[1:]
  votes.num_classes(apply, params, shape)  # Raises unless logits are `[B, K]`.
  check_memory(apply, params, shape, settings)
  keys = fold_in(key, np.arange(len(images)))
  results = [result for result, _ in certify_points(params, images, keys, labels)]
  predictions, radii, counts = zip(*results, strict=True)
  return np.array(predictions), np.array(radii), np.stack(counts)


def check_memory(
  apply: ApplyFn, params: Params, image_shape: tuple[int, ...], settings: Settings
) -> None:
  """`votes.check_memory` for these settings."""
  votes.check_memory(
    apply,
    params,
    image_shape,
    batch_size=settings.batch_size,
    dtype=settings.dtype,
    noise=noise_of(settings),
  )


def fold_in(key: Key, indices: np.ndarray) -> Key:
  """The keys of points, `[M]`, by their places in a split."""
  return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(indices, jnp.uint32))


def certify_to_files(
  apply: ApplyFn,
  params: Params,
  images: np.ndarray,
  labels: np.ndarray,
  indices: np.ndarray,
  key: Key,
  path: str | os.PathLike,
  *,
  seed: int,
  sigma: float,
  n0: int,
  n: int,
  alpha: float,
  mode: str = "fixed",
  options: Any = None,
  dtype: str = "float32",
  batch_size: int = 1000,
  sound: bool = False,
  extra: Mapping[str, Any] | None = None,
  on_point: ProgressFn | None = None,
  stops_early: bool = True,
):
  """Certifies test points into the files of `path` (`certificates`), or resumes them.

  The point idx uses fold_in(key, idx), so that neither an interruption nor the choice
  of the other points changes its certificate.

  Args:
    images: uint8 `[N, H, W, C]`, the test split.
    labels: int `[N]`; modes adaptive and aca stop early if n0 votes favour another class,
      where that is allowed.
    indices: int `[M]` in [0, N), the points to certify, in this order.
    key: consumed; recorded in the sidecar.
    path: `DIR/seed_<k>`.
    seed: the victim's seed.
    sigma, n0, n, alpha, mode, options, dtype, batch_size, sound: as for `make_certifier`.
    extra: further fields of the sidecar, which its own fields override.
    on_point: called after each new point with (points done, M, certificate, label).
    stops_early: whether that is allowed; False where other classes' radii are wanted, too.

  Raises:
    InputError: as for `make_certifier`; or the files cannot be resumed.
    NonFiniteError: a sample's logits are not finite.
  """
  settings = Settings(sigma, n0, n, alpha, mode, options, dtype, batch_size, sound)
  rule = rule_of(settings)
  certify_points = by_rule(rule, apply, settings)
  sidecar = {**(extra or {}), **described(settings), **rule.sidecar}
  sidecar |= {"seed": seed, "indices": indices, "key": jax.random.key_data(key)}
  sidecar["num_classes"] = votes.num_classes(apply, params, images.shape[1:])
  with certificates.Writer(path, sidecar) as writer:
    left = np.asarray(indices)[writer.num_done :]
    keys = fold_in(key, left)
    known = labels[left] if stops_early else None
    stream = certify_points(params, images[left], keys, known, names=left)
    for idx, (result, seconds) in zip(left, stream, strict=True):
      writer.append(idx, labels[idx], result, seconds=seconds)
      if on_point is not None:
        on_point(writer.num_done, len(indices), result, int(labels[idx]))


def described(settings: Settings) -> dict[str, Any]:
  """The settings' fields in a sidecar, without batch_size, which votes do not depend on.

  The last bits of logits may: sound certificates are of the program of one batch size on
  one backend, and say both.
  """
  names = ("mode", "dtype", "sigma", "n0", "n", "alpha")
  own: dict[str, Any] = {}  # Ordinary files do not name it.
  if settings.sound:
    own |= {"sound": True, "batch_size": settings.batch_size}
    own["backend"] = jax.default_backend()
  return {name: getattr(settings, name) for name in names} | own
