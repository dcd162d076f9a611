"""Monte-Carlo certification: how far a smoothed classifier's prediction surely holds.

The smoothed classifier is g(x) = argmax_c P[f(x + e) = c], e ~ N(0, sigma^2 I). With a
probability of at least 1 - alpha over the sampling, a certificate that does not abstain
is right: g(x + d) is its prediction for every perturbation d with |d|_2 < its radius.
Algorithm CERTIFY of Cohen et al. (2019), https://arxiv.org/abs/1902.02918.

Votes are counted on the device; the statistics are float64 SciPy on the host.
"""

import functools
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import certificates, confidence, data, errors
from pacd_jax.types import ApplyFn, Array, Certificate, Key, Params

# `certify_point(params, image, key, point="7") -> certificate` of a float `[H, W, C]`
# image; the key is consumed; `point` is how an error names the image.
CertifyPointFn = Callable[..., Certificate]
# `on_point(num_done, total, certificate, label)`.
ProgressFn = Callable[[int, int, Certificate, int], None]


def make_certifier(
  apply: ApplyFn, *, sigma: float, n0: int, n: int, alpha: float, batch_size: int = 1000
) -> CertifyPointFn:
  """Makes `certify_point(params, image, key) -> Certificate` for one image.

  Compiled once for all certifiers of the same `apply`, n0, n, batch_size and shapes.

  Args:
    apply: the base classifier f = argmax of its logits.
    sigma: standard deviation of the noise, in the units of the images ([0, 1]); it is
      added to an image as it is, and nothing is clipped.
    n0: samples that choose the class.
    n: samples that bound its probability.
    alpha: probability in (0, 1) that a certificate is wrong.
    batch_size: noisy copies at a time; the noise, though not its law, depends on it.

  Raises:
    InputError: a setting out of range, or an n that cannot certify at this alpha.
    NonFiniteError: by `certify_point`, where a sample's logits are not finite.
  """
  settings = f"sigma={sigma}, n0={n0}, n={n}, alpha={alpha}, batch_size={batch_size}"
  if not (sigma > 0.0 and min(n0, n, batch_size) >= 1 and 0.0 < alpha < 1.0):
    raise errors.InputError(f"certify: out of range: {settings}")
  if not confidence.can_certify(n, alpha):
    raise errors.InputError(f"certify: n is too small for any radius > 0: {settings}")
  count = functools.partial(_count_votes, apply=apply, batch_size=batch_size)

  def certify_point(params: Params, image: Array, key: Key, point: Any = "of one image"):
    chex.assert_rank(image, 3)
    image = jnp.asarray(image, jnp.float32)
    key0, key1 = (jax.random.fold_in(key, i) for i in (0, 1))
    selection = count(params, image, key0, sigma, num_samples=n0)
    estimation = count(params, image, key1, sigma, num_samples=n)
    (counts0, bad0), (counts, bad) = jax.device_get((selection, estimation))
    if bad0 + bad:
      what = f"{bad0 + bad} of {n0 + n} noisy samples have non-finite logits"
      raise errors.NonFiniteError(f"certify, point {point}: {what}")
    return confidence.certificate(counts0, counts, sigma=sigma, alpha=alpha)

  return certify_point


@functools.partial(jax.jit, static_argnames=("apply", "num_samples", "batch_size"))
def _count_votes(params, image, key, sigma, *, apply, num_samples, batch_size):
  """Votes of exactly `num_samples` noisy copies, and how many had non-finite logits.

  Batch b draws its noise from fold_in(key, b); what the last one has too much is drawn
  and not counted. Returns int32 `[K]` and int32 `[]`. key: consumed.
  """
  batch_size = min(batch_size, num_samples)
  classes = jnp.arange(_num_classes(apply, params, image.shape))

  def add_batch(totals, batch):
    noise_key = jax.random.fold_in(key, batch)
    noise = jax.random.normal(noise_key, (batch_size, *image.shape), image.dtype)
    logits = apply(params, image[None] + sigma * noise)
    counted = batch * batch_size + jnp.arange(batch_size) < num_samples
    votes = (jnp.argmax(logits, axis=-1)[:, None] == classes[None]) & counted[:, None]
    non_finite = ~jnp.isfinite(logits).all(axis=-1) & counted
    sums = votes.sum(axis=0, dtype=jnp.int32), non_finite.sum(dtype=jnp.int32)
    return jax.tree.map(jnp.add, totals, sums), None

  zeros = jnp.zeros(classes.shape, jnp.int32), jnp.zeros((), jnp.int32)
  num_batches = -(-num_samples // batch_size)
  return jax.lax.scan(add_batch, zeros, jnp.arange(num_batches))[0]


def _num_classes(apply: ApplyFn, params: Params, image_shape: tuple[int, ...]) -> int:
  images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  return jax.eval_shape(apply, params, images).shape[-1]


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
  batch_size: int = 1000,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Certifies a batch of images; image i uses fold_in(key, i).

  Args:
    images: float `[B, H, W, C]` in [0, 1], B >= 1.
    key: consumed.
    sigma, n0, n, alpha, batch_size: as for `make_certifier`, and errors too; InputError
      also for images of another type, shape or range.

  Returns:
    Predictions int64 `[B]`, -1 where it abstains; certified l2 radii float64 `[B]` in
    image units; votes of the n samples int64 `[B, K]`.
  """
  _check_images(images)
  settings = dict(sigma=sigma, n0=n0, n=n, alpha=alpha, batch_size=batch_size)
  certify_point = make_certifier(apply, **settings)
  results = [
    certify_point(params, image, jax.random.fold_in(key, i), point=i)
    for i, image in enumerate(images)
  ]
  predictions, radii, counts = zip(*results, strict=True)
  return np.array(predictions), np.array(radii), np.stack(counts)


def _check_images(images: Array) -> None:
  """InputError for images in other units: sigma and the radius are those of [0, 1]."""
  images = np.asarray(images)
  if images.ndim != 4 or not len(images) or images.dtype.kind != "f":
    raise errors.InputError(
      f"certify: images are {images.dtype} of shape {images.shape}: give float32 "
      "[B, H, W, C] in [0, 1] (data.to_float makes them of uint8)"
    )
  if not (images.min() >= -1e-6 and images.max() <= 1.0 + 1e-6):
    raise errors.InputError(
      f"certify: images span [{images.min():g}, {images.max():g}]: scale them to [0, 1]"
    )


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
  batch_size: int = 1000,
  extra: Mapping[str, Any] | None = None,
  on_point: ProgressFn | None = None,
):
  """Certifies test points into `path`'s files (`certificates`); goes on where they end.

  The point idx uses fold_in(key, idx), so that neither an interruption nor the choice
  of the other points changes its certificate.

  Args:
    images: uint8 `[N, H, W, C]`, the test split.
    labels: int `[N]`.
    indices: int `[M]` in [0, N): which points, in which order.
    key: consumed; recorded in the sidecar.
    path: `DIR/seed_<k>`. InputError if its files cannot be resumed.
    seed: which victim this is.
    sigma, n0, n, alpha, batch_size: as for `make_certifier`, and errors too.
    extra: more fields for the sidecar; its own fields win.
    on_point: called after each new point with (points done, M, certificate, label).
  """
  settings = dict(sigma=sigma, n0=n0, n=n, alpha=alpha, batch_size=batch_size)
  certify_point = make_certifier(apply, **settings)
  num_classes = _num_classes(apply, params, images.shape[1:])
  points = dict(seed=seed, indices=indices, num_classes=num_classes, bound=confidence.BOUND)
  points["key"] = jax.random.key_data(key)
  with certificates.Writer(path, {**(extra or {}), **settings, **points}) as writer:
    for idx in indices[writer.num_done :]:
      start = time.perf_counter()
      image = data.to_float(images[idx])
      result = certify_point(params, image, jax.random.fold_in(key, idx), point=idx)
      seconds = time.perf_counter() - start
      writer.append(idx, labels[idx], result, seconds=seconds)
      if on_point is not None:
        on_point(writer.num_done, len(indices), result, int(labels[idx]))
