"""Votes of noisy copies: drawn and counted on the devices, for many points at once.

Sample j of the point with key k has the noise sigma * normal(fold_in(k, j)), or that of
`exact_noise`, by the same key. So votes
depend neither on how samples are batched nor on the other points of a batch, except that
the last bits of the logits may change with the batch size.

One program serves every sampling rule: the samples of a window of points form one sequence,
which is cut into batches regardless of where points end, and the batches are dealt to the
devices in turn.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from pacd_jax import errors
from pacd_jax.certification import exact_noise
from pacd_jax.models import precision
from pacd_jax.runtime import sharding
from pacd_jax.types import ApplyFn, Array, Params

WINDOW = 64  # W, points of one call.
IN_FLIGHT = 2  # Calls in flight, so that the device does not wait for the host.
_STATIC = ("apply", "batch_size", "dtype", "impl", "mesh")
# The largest batch that is compiled to measure its memory, by backend. Backends other than
# CPU autotune while compiling, on arrays of the real size.
_MOST_TO_COMPILE = {"cpu": 2**26, "other": 1024}
_UNIT_NOISE = np.float32(1.0)
# Upper bound of the numbers that a model stores for each number of a noisy image.
_NUMBERS_PER_NUMBER = 500


def most_batches(batch_size: int) -> int:
  """The most batches that one call of `draw` may have: it draws fewer than 2^31 samples."""
  return (2**31 - 1) // batch_size


def num_classes(apply: ApplyFn, params: Params, image_shape: tuple[int, ...]) -> int:
  """The number of logits K, by shapes alone; raises InputError if they are not `[B, K]`."""
  images = jax.ShapeDtypeStruct((3, *image_shape), jnp.float32)
  logits = jax.eval_shape(apply, params, images)
  shape = getattr(logits, "shape", None)
  if shape is None or len(shape) != 2 or shape[0] != 3 or shape[1] < 2:
    raise errors.InputError(
      f"certify: apply gives {f'shape {shape}' if shape else type(logits).__name__} for 3 "
      "images: it must give logits [B, K], a row for each image, of at least 2 classes"
    )
  return shape[1]


def _draw(
  params: Params,
  images: Array,
  keys: Array,
  start: Array,
  count: Array,
  noise: Array | exact_noise.Noise,
  *,
  apply: ApplyFn,
  batch_size: int,
  dtype: str = "float32",
  impl: str = "threefry2x32",
  mesh: jax.sharding.Mesh | None = None,
) -> tuple[Array, Array]:
  """Votes of the samples start[i], ..., start[i] + count[i] - 1 of each point i.

  It is compiled once for all calls with the same `apply`, batch_size, dtype, impl, mesh and
  shapes.

  Args:
    params: parameters of the base classifier f = argmax of `apply`'s logits.
    images: float32 `[W, H, W, C]` in [0, 1].
    keys: uint32 `[W, ...]`, `jax.random.key_data` of the points' keys.
    start: uint32 `[W]`, number of the first sample.
    count: int32 `[W]`, number of samples, or 0; at most `most_batches` batches in all.
    noise: `[]` float32, its standard deviation sigma, in the units of the images, where it
      is added in float32; or `exact_noise.make(sigma)`, which is added exactly to images of
      8 bits. Noisy images are not clipped.
    batch_size: noisy copies that a device evaluates at a time; memory grows with it.
    dtype: dtype of f, see `precision.evaluate`.
    impl: implementation of the keys, as `jax.random.key_impl` names it.
    mesh: D devices, by default `sharding.mesh()`.

  Returns:
    Each device's votes int32 `[D, W, K]`, whose sums over devices and classes are `count`;
    int32 `[D, W]`, the number of samples with non-finite logits. The caller sums over the
    devices: summing here would make each wait for the slowest.
  """
  draw_share = functools.partial(
    _draw_share, apply=apply, batch_size=batch_size, dtype=dtype, impl=impl
  )

  def of_device(*args):
    counts, non_finite = draw_share(*args)
    return counts[None], non_finite[None]

  return jax.shard_map(
    of_device,
    mesh=mesh or sharding.mesh(),
    in_specs=PartitionSpec(),
    out_specs=PartitionSpec(sharding.AXIS),
    check_vma=False,
  )(params, images, keys, start, count, noise)


def _draw_share(
  params, images, keys, start, count, noise, *, apply, batch_size, dtype, impl
):
  """The votes of this device: of D devices, number d takes the batches d, d + D, ..."""
  num_points, shape = images.shape[0], images.shape[1:]
  keys = jax.random.wrap_key_data(keys, impl=impl)
  ends = jnp.cumsum(count)  # Each point's end in the sequence of all samples.
  k = num_classes(apply, params, shape)

  def normal(point, sample):
    return jax.random.normal(jax.random.fold_in(keys[point], sample), shape, jnp.float32)

  def copies(point, sample):
    if isinstance(noise, exact_noise.Noise):
      own = jax.vmap(jax.random.fold_in)(keys[point], sample)
      return exact_noise.noisy(images[point], own, noise)
    return images[point] + noise * jax.vmap(normal)(point, sample)

  def add_batch(batch, totals):
    batch = first + batch * num_devices
    place = batch * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
    counted = place < ends[-1]
    point = jnp.searchsorted(ends, place, side="right")
    point = jnp.minimum(point, num_points - 1)
    sample = start[point] + (place - (ends - count)[point]).astype(jnp.uint32)
    logits = precision.evaluate(apply, params, copies(point, sample), dtype)
    non_finite = ~jnp.isfinite(logits).all(axis=-1) & counted
    votes = totals[0].at[point, jnp.argmax(logits, axis=-1)].add(counted.astype(jnp.int32))
    return votes, totals[1].at[point].add(non_finite.astype(jnp.int32))

  num_devices, first = jax.lax.axis_size(sharding.AXIS), jax.lax.axis_index(sharding.AXIS)
  num_batches = ((ends[-1] - 1) // batch_size - first) // num_devices + 1
  totals = jnp.zeros((num_points, k), jnp.int32), jnp.zeros(num_points, jnp.int32)
  return jax.lax.fori_loop(0, num_batches, add_batch, totals)


draw = jax.jit(_draw, static_argnames=_STATIC)


# --- memory ---------------------------------------------------------------------------


def check_memory(
  apply: ApplyFn,
  params: Params,
  image_shape: tuple[int, ...],
  *,
  batch_size: int,
  dtype: str = "float32",
  noise: np.float32 | exact_noise.Noise = _UNIT_NOISE,
  free: int | None = None,
) -> None:
  """Checks that the memory that `draw` needs is free on the device.

  Unless a simple bound shows that it fits, `draw` is compiled to find what it needs.

  Args:
    apply: the base classifier.
    params: its parameters; their shapes, `jax.ShapeDtypeStruct`, are enough.
    image_shape: `(H, W, C)`.
    batch_size, dtype, noise: as for `draw`; what the ordinary noise is does not matter.
    free: bytes that `draw` may use; by default those that are free on the device now.

  Raises:
    InputError: it does not fit; the message gives a batch size that does.
  """
  free = free_bytes() if free is None else free
  bound = 4 * batch_size * math.prod(image_shape) * _NUMBERS_PER_NUMBER
  if bound * calls_at_once() <= free:
    return
  temporary = functools.partial(
    _temporary_bytes, apply, params, image_shape, dtype, noise=noise
  )
  most = _MOST_TO_COMPILE.get(jax.default_backend(), _MOST_TO_COMPILE["other"])
  needed = temporary(min(batch_size, most))  # On each device.
  if batch_size > most:
    slope = (needed - temporary(most // 2)) / (most - most // 2)
    needed += slope * (batch_size - most)
  needed *= calls_at_once()
  if needed <= free:
    return
  most = _round_down(0.9 * batch_size * free / needed)
  advice = f"use at most {most}" if most else "not even one noisy copy at a time fits"
  raise errors.InputError(
    f"certify.batch_size={batch_size} needs {in_gib(needed)}, and this device has "
    f"{in_gib(free)} free: {advice}"
  )


def calls_at_once() -> int:
  """The number of devices' shares of calls that are in one memory at a time."""
  on_cpu = jax.default_backend() == "cpu"  # CPU devices share one memory.
  return IN_FLIGHT * (jax.local_device_count() if on_cpu else 1)


def _temporary_bytes(
  apply: ApplyFn,
  params: Params,
  image_shape: tuple[int, ...],
  dtype: str,
  batch_size: int,
  noise: np.float32 | exact_noise.Noise = _UNIT_NOISE,
) -> int:
  """The bytes that one call needs beside its arguments and results."""
  shape = jax.ShapeDtypeStruct
  key = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0)))
  lowered = draw.lower(
    params,
    shape((WINDOW, *image_shape), jnp.float32),
    shape((WINDOW, *key.shape), key.dtype),
    shape((WINDOW,), jnp.uint32),
    shape((WINDOW,), jnp.int32),
    noise,
    apply=apply,
    batch_size=batch_size,
    dtype=dtype,
    impl=str(jax.random.key_impl(jax.random.key(0))),
  )
  analysis: Any = lowered.compile().memory_analysis()
  return analysis.temp_size_in_bytes if analysis else 0


def free_bytes() -> int:
  """The free bytes of the first device's memory, which on CPU is the host's."""
  device = jax.local_devices()[0]
  stats = device.memory_stats() or {}
  if "bytes_limit" in stats:
    return stats["bytes_limit"] - stats["bytes_in_use"]
  return sharding.free_memory()


def _round_down(number: float) -> int:
  """Rounds down to the first digit: 68,321 becomes 60,000."""
  unit = 10 ** max(0, len(str(int(number))) - 1)
  return int(np.floor(number / unit)) * unit


def in_gib(size: float) -> str:
  """Bytes in words."""
  return f"{size / 2**30:.3g} GiB"
