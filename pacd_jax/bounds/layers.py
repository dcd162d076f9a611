"""A network as a sequence of layers with their weights: what its bounds are computed from.

A description is a tuple of layers, a pytree whose arrays are functions of the parameters;
images `[B, H, W, C]` pass its layers in turn. Affine layers are x -> W x + b.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types

_STATIC = {"static": True}  # Of a field that is no array, but a part of the structure.


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Dense:
  """`[B, D]` -> `[B, F]`."""

  kernel: types.Array  # `[D, F]`.
  bias: types.Array  # `[F]`.


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Convolution:
  """`[B, H, W, C]` -> `[B, H', W', F]`, a cross-correlation."""

  kernel: types.Array  # `[K, K, C, F]`.
  bias: types.Array  # `[F]`.
  stride: int = dataclasses.field(default=1, metadata=_STATIC)
  # "SAME" or "VALID".
  padding: str = dataclasses.field(default="SAME", metadata=_STATIC)
  # `convolve(x, kernel, stride, padding)`, a way to compute it; None: XLA's.
  convolve: Callable[..., types.Array] | None = dataclasses.field(
    default=None, metadata=_STATIC
  )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ScaleShift:
  """A scale and shift of every channel, on the last axis: an affine norm."""

  scale: types.Array  # `[C]`.
  shift: types.Array  # `[C]`.


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SpaceMean:
  """The mean over rows and columns, `[B, H, W, C]` -> `[B, C]`."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Flatten:
  """`[B, H, W, C]` -> `[B, H W C]`."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SpaceToDepth:
  """Patches become channels, `[B, H, W, C]` -> `[B, H / size, W / size, size^2 C]`."""

  size: int = dataclasses.field(metadata=_STATIC)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Relu:
  """max(x, 0)."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MaxPool:
  """The largest of 2x2 pixels; an odd row or column at the end is left out."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Residual:
  """The sum of two sequences of layers of the same input; an empty one is the identity."""

  branch: tuple[Any, ...]
  shortcut: tuple[Any, ...] = ()


NONLINEAR = (Relu, MaxPool)


def of(model: types.Model, params: types.Params) -> types.Layers:
  """The description of a network with these parameters.

  Raises:
    errors.InputError: it has none (`check`).
  """
  check(model)
  assert model.describe is not None
  return model.describe(params)


def check(model: types.Model, what: str = "bounds") -> None:
  """Raises `errors.InputError` for a network whose layers have no bounds.

  Args:
    model: the network.
    what: what wants its bounds, in the message.
  """
  if model.describe is None:
    reason = model.undescribed or "it was made without a description (types.Model.describe)"
    raise errors.InputError(f"{what}: the network has no bounds: {reason}")


def apply(layers: types.Layers, images: types.Array) -> types.Array:
  """The network's outputs: `[B, H, W, C]` -> `[B, K]`."""
  chex.assert_rank(images, 4)
  return functools.reduce(lambda x, layer: through(layer, x), layers, images)


def through(layer: Any, x: types.Array) -> types.Array:
  """One layer's outputs."""
  if isinstance(layer, Relu):
    return jax.nn.relu(x)
  if isinstance(layer, MaxPool):
    return pool_windows(x).max(axis=-1)
  if isinstance(layer, Residual):
    a, b = (
      functools.reduce(lambda x, each: through(each, x), part, x)
      for part in (layer.branch, layer.shortcut)
    )
    return a + b
  return shifted(layer, product(layer, x))


def product(
  layer: Any,
  x: types.Array,
  of_weights: Callable[[types.Array], types.Array] = lambda w: w,
) -> types.Array:
  """f(W) x of an affine layer, f on each of its weights, with f(0) = 0 and f(1) = 1."""
  if isinstance(layer, Dense):
    return x @ of_weights(layer.kernel)
  if isinstance(layer, Convolution):
    convolve = layer.convolve or _lax_convolve
    return convolve(x, of_weights(layer.kernel), layer.stride, layer.padding)
  if isinstance(layer, ScaleShift):
    return x * _on_last_axis(of_weights(layer.scale), x)
  if isinstance(layer, SpaceMean):
    share = jnp.asarray(1.0 / (x.shape[1] * x.shape[2]), x.dtype)
    return x.sum(axis=(1, 2)) * of_weights(share)
  if isinstance(layer, Flatten):
    return x.reshape(len(x), -1)
  if isinstance(layer, SpaceToDepth):
    batch, height, width, channels = x.shape
    size = layer.size
    x = x.reshape(batch, height // size, size, width // size, size, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(
      batch, height // size, width // size, size * size * channels
    )
  raise errors.InputError(
    f"a layer {type(layer).__name__} has no bounds: use those of pacd_jax.bounds.layers"
  )


def offset(layer: Any) -> types.Array | None:
  """b of an affine layer, `[C]` on the last axis of its outputs; None: 0."""
  if isinstance(layer, Dense | Convolution):
    return layer.bias
  return layer.shift if isinstance(layer, ScaleShift) else None


def shifted(layer: Any, y: types.Array) -> types.Array:
  """y + b."""
  b = offset(layer)
  return y if b is None else y + _on_last_axis(b, y)


def pool_windows(x: types.Array) -> types.Array:
  """The pixels of each 2x2 window, `[B, H, W, C]` -> `[B, H // 2, W // 2, C, 4]`."""
  batch, height, width, channels = x.shape
  rows, columns = height // 2, width // 2
  x = x[:, : 2 * rows, : 2 * columns]
  x = x.reshape(batch, rows, 2, columns, 2, channels)
  return x.transpose(0, 1, 3, 5, 2, 4).reshape(batch, rows, columns, channels, 4)


def is_permutation(layer: Any) -> bool:
  """Whether outputs are the inputs in another order."""
  return isinstance(layer, Flatten | SpaceToDepth)


def size_of(shape: Sequence[int]) -> int:
  """Numbers of one image's activations, `[B, ...]`."""
  return int(np.prod(shape[1:]))


def _lax_convolve(x, kernel, stride, padding):
  return jax.lax.conv_general_dilated(
    x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


def _on_last_axis(values, x):
  return values.reshape((1,) * (x.ndim - 1) + values.shape)
