"""Convolutions that are fast on a backend, behind `Layout`: for the files beside this one.

`NHWC` is XLA's own convolution, which is fast on GPUs and TPUs. The others are for XLA on
CPU, where derivatives of its convolution are several times slower than matrix products,
especially inside loops (`make bench`): `CHWB` for a few large convolutions with pooling,
`SPLIT` for many small ones. All give the same values and derivatives of every order.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Layout(NamedTuple):
  """The order of the axes of activations, and the operations that depend on it."""

  enter: Callable  # Transposes `[B, H, W, C]` to the layout.
  conv: Callable  # `(x, kernel, stride, padding)`.
  conv_pool: Callable  # `(x, kernel, bias, padding)`: relu(max_pool(conv(x) + bias)).
  channels: Callable  # Reshapes `[C]` so that it broadcasts.
  dense: Callable  # `(x, kernel)`: x as `[B, H W C]` @ kernel, which is `[B, F]`.
  batch_axis: int  # 0 or 3; rows and columns are axes 1 and 2, channels the other axis.


# --- NHWC: fast on GPUs and TPUs --------------------------------------------------------


def _lax_conv(x, kernel, stride, padding):
  return jax.lax.conv_general_dilated(
    x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


def _lax_conv_pool(x, kernel, bias, padding):
  x = jax.nn.relu(_lax_conv(x, kernel, 1, padding) + bias[None, None, None])
  window = (1, 2, 2, 1)
  return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")


NHWC = Layout(
  lambda x: x,
  _lax_conv,
  _lax_conv_pool,
  lambda v: v[None, None, None],
  lambda x, kernel: x.reshape(len(x), -1) @ kernel,
  0,
)


# --- CHWB: convolutions as matrix products, for XLA on CPU ------------------------------
#
# XLA's own weight gradient of a convolution is several times slower on CPU. With the batch
# as the trailing axis, patches are copies of long rows and a convolution is one product
# `[F, K K C] @ [K K C, H W B]`, as are its derivatives of every order.


def _padded(x, size, stride, padding):
  """Pads x, with rows and columns on axes 1 and 2, for a VALID convolution."""
  pads = jax.lax.padtype_to_pads(x.shape[1:3], (size, size), (stride, stride), padding)
  return jnp.pad(x, [(0, 0), *pads, (0, 0)])


def _patches(x, size, stride, padding, channel_axis):
  """The K x K pixels under each output, concatenated on the channel axis."""
  x = _padded(x, size, stride, padding)
  height, width = x.shape[1:3]
  rows, columns = (height - size) // stride + 1, (width - size) // stride + 1
  if min(rows, columns) < 1:
    raise ValueError(f"a {size}x{size} kernel on {height}x{width} pixels")
  down, across = (stride * (n - 1) + 1 for n in (rows, columns))
  shifts = [
    x[:, i : i + down : stride, j : j + across : stride]
    for i in range(size)
    for j in range(size)
  ]
  return jnp.concatenate(shifts, axis=channel_axis)


def _matmul_conv(x, kernel, stride, padding):
  patches = _patches(x, len(kernel), stride, padding, channel_axis=0)
  outputs = kernel.reshape(len(patches), -1).T @ patches.reshape(len(patches), -1)
  return outputs.reshape(-1, *patches.shape[1:])


def _matmul_conv_pool(x, kernel, bias, padding):
  """Computes a pooling window's four outputs as four rows of one product over its patch.

  The patch of a 2x2 window is (K + 1) x (K + 1) pixels: 2.8 times fewer numbers to copy
  than four K x K patches, for K = 5, at 1.4 times the multiplications.
  """
  size, _, channels, features = kernel.shape
  x = _padded(x, size, 1, padding)
  rows, columns = (x.shape[1] - size + 1) // 2, (x.shape[2] - size + 1) // 2
  if min(rows, columns) < 1:
    raise ValueError(f"a {size}x{size} kernel and pooling on {x.shape[1:3]} pixels")
  odd = (size + 1) % 2  # Windows of whole pixel pairs: an even kernel gets a zero row.
  half, batch = (size + 1 + odd) // 2, x.shape[3]
  height, width = 2 * (rows + half - 1), 2 * (columns + half - 1)
  x = jnp.pad(x, [(0, 0), (0, odd), (0, odd), (0, 0)])[:, :height, :width]

  # Pixels are grouped by their place in a pair, then shifted by whole pairs, which avoids
  # strided copies.
  x = x.reshape(channels, height // 2, 2, width // 2, 2, batch)
  x = x.transpose(2, 4, 0, 1, 3, 5).reshape(4 * channels, height // 2, width // 2, batch)
  x = jnp.concatenate([x[:, i : i + rows] for i in range(half)])
  patches = jnp.concatenate([x[:, :, j : j + columns] for j in range(half)])

  def shifted(i, j):
    kernels = jnp.pad(kernel, [(i, 1 + odd - i), (j, 1 + odd - j), (0, 0), (0, 0)])
    kernels = kernels.reshape(half, 2, half, 2, channels, features)
    return kernels.transpose(2, 0, 1, 3, 4, 5).reshape(-1, features)

  kernels = jnp.concatenate([shifted(i, j) for i in (0, 1) for j in (0, 1)], axis=1)
  outputs = kernels.T @ patches.reshape(len(patches), -1)
  a, b, c, d = jnp.split(outputs, 4)  # The derivative of a split is a concatenation.
  outputs = _larger(_larger(a, b), _larger(c, d)).reshape(features, rows, columns, batch)
  return jax.nn.relu(outputs + bias[:, None, None, None])


def _dense_of_chwb(x, kernel):
  """Permutes the kernel's rows to x's order, as copying x would cost more."""
  *chw, batch = x.shape
  channels, height, width = chw
  kernel = kernel.reshape(height, width, channels, -1).transpose(2, 0, 1, 3)
  return x.reshape(-1, batch).T @ kernel.reshape(channels * height * width, -1)


def _larger(a, b):
  """max(a, b) whose derivative is that of a for a = b, as in `reduce_window`."""
  return jnp.where(a >= b, a, b)


CHWB = Layout(
  lambda x: x.transpose(3, 1, 2, 0),
  _matmul_conv,
  _matmul_conv_pool,
  lambda v: v[:, None, None, None],
  _dense_of_chwb,
  3,
)


def by_products(x, kernel, stride, padding):
  """A convolution of `[B, H, W, C]` by CHWB's product, with derivatives that are fast."""
  return _matmul_conv(x.transpose(3, 1, 2, 0), kernel, stride, padding).transpose(
    3, 1, 2, 0
  )


# --- SPLIT: XLA's convolution forward, which is fast, matrix products for derivatives -----


def _patches_conv(x, kernel, stride, padding):
  """Computes `_lax_conv` as a product over patches, `[B H W, K K C] @ [K K C, F]`."""
  patches = _patches(x, len(kernel), stride, padding, channel_axis=3)
  return patches @ kernel.reshape(patches.shape[3], -1)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _split_conv(x, kernel, stride, padding):
  return _lax_conv(x, kernel, stride, padding)


@_split_conv.defjvp
def _split_conv_jvp(stride, padding, primals, tangents):
  (x, kernel), (dx, dkernel) = primals, tangents
  tangent = _patches_conv(dx, kernel, stride, padding)
  tangent += _patches_conv(x, dkernel, stride, padding)
  return _split_conv(x, kernel, stride, padding), tangent


SPLIT = NHWC._replace(conv=_split_conv)


def in_chunks(function: Callable, size: int, axis: int) -> Callable:
  """Returns `function(x) -> y` applied to `size` elements of a batch at a time; 0: all.

  Its intermediate values then stay in a CPU's cache. `axis` is the batch axis of x and y.
  """

  def chunked(x):
    batch = x.shape[axis]
    whole = batch // size * size
    if whole <= 2 * size:  # Without a loop, chunks can run in parallel.
      whole = 0
      parts = []
    else:
      chunks = jax.lax.slice_in_dim(x, 0, whole, axis=axis)
      shape = *x.shape[:axis], whole // size, size, *x.shape[axis + 1 :]
      chunks = jnp.moveaxis(chunks.reshape(shape), axis, 0)
      y = jnp.moveaxis(jax.lax.map(function, chunks), 0, axis)
      parts = [y.reshape(*y.shape[:axis], whole, *y.shape[axis + 2 :])]
    for start in range(whole, batch, size):
      part = jax.lax.slice_in_dim(x, start, min(start + size, batch), axis=axis)
      parts.append(function(part))
    return jnp.concatenate(parts, axis=axis)

  return chunked if size else function
