"""The lossy part of baseline JPEG as libjpeg computes it, in JAX on whole numbers.

ITU-T T.81 leaves the arithmetic to the program. Here it is that of libjpeg's slow DCT, the
one that Pillow uses: fixed-point numbers of 13 bits, by two passes with rounding, and of 16
bits for colours. A block's frequencies then fall to the same side of every step as
Pillow's, also at ties, which are frequent: all frequencies are multiples of 1/8.

In the shape descriptions a plane is int32 `[B, H, W]`, levels from 0 to 255.
"""

import math

import jax.numpy as jnp
import numpy as np

from pacd_jax import types

# ITU-T T.81, annex K: luminance and chrominance, by rows of frequencies.
_LUMINANCE = (
  *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
  *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
  *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
  *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
  *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
  *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
  *(99,) * 32,
)
_BLOCK = 8  # Pixels on a side.
_BITS, _EXTRA = 13, 2  # Of the DCT's constants; more of the numbers between its passes.
_COLOR_BITS = 16


def coded(levels: types.Array, *, quality: int) -> types.Array:
  """Levels written as JPEG and read again, each image alone.

  Args:
    levels: int32 `[B, H, W, C]` from 0 to 255, C = 1 (grey) or 3 (RGB).
    quality: from 1 to 100.
  """
  if levels.shape[-1] == 1:
    return _coded(levels[..., 0], table(quality))[..., None]
  luma, *chroma = _to_ycc(levels)
  height, width = luma.shape[1:]
  of_chroma, half = table(quality, chroma=True), -(-width // 2)
  halves = [_coded(_halved(each), of_chroma)[:, :, :half] for each in chroma]
  whole = [_doubled(each)[:, :height, :width] for each in halves]
  return _to_rgb(_coded(luma, table(quality)), *whole)


def table(quality: int, *, chroma: bool = False) -> np.ndarray:
  """The steps of a block's frequencies, int32 `[8, 8]`, at a quality."""
  scale = 5000 // quality if quality < 50 else 200 - 2 * quality
  standard = np.array(_CHROMINANCE if chroma else _LUMINANCE, np.int32)
  return np.clip((standard * scale + 50) // 100, 1, 255).reshape(_BLOCK, _BLOCK)


# --- blocks -----------------------------------------------------------------------------


def _basis() -> np.ndarray:
  """2^13 times sqrt(8) times the orthonormal DCT, int32 `[8, 8]`, frequencies by pixels.

  Loeffler, Ligtenberg and Moschytz (1989): its entries are sums of rounded constants.
  """

  def c(number):
    return math.sqrt(2.0) * math.cos(number * math.pi / 16)

  def fixed(value):
    return math.floor(value * 2**_BITS + 0.5)

  one, turn = 2**_BITS, fixed(c(6))
  up, down = turn + fixed(c(2) - c(6)), turn - fixed(c(2) + c(6))
  shared = fixed(c(3))
  near, far = fixed(c(3) - c(7)), fixed(c(3) + c(1))
  first, second = fixed(c(3) + c(5)), fixed(c(3) - c(5))
  own = (
    fixed(c(1) + c(3) - c(5) - c(7)) - near - second,
    fixed(c(1) + c(3) + c(5) - c(7)) - far - first,
    fixed(c(1) + c(3) - c(5) + c(7)) - far - second,
    fixed(-c(1) + c(3) + c(5) - c(7)) - near - first,
  )
  even = [
    (one, one, one, one),
    (up, turn, -turn, -up),
    (one, -one, -one, one),
    (turn, down, -down, -turn),
  ]
  odd = shared + np.array(
    [
      (own[0], 0, -second, -near),
      (0, own[1], -far, -first),
      (-second, -far, own[2], 0),
      (-near, -first, 0, own[3]),
    ]
  )
  basis = np.zeros((_BLOCK, _BLOCK), np.int32)
  basis[0::2] = np.concatenate([even, np.array(even)[:, ::-1]], axis=1)
  basis[1::2] = np.concatenate([odd, -odd[:, ::-1]], axis=1)
  return basis


def _coded(plane: types.Array, steps: np.ndarray) -> types.Array:
  """A plane after the rounding of its blocks' frequencies to multiples of the steps."""
  batch, height, width = plane.shape
  rows, columns = -height % _BLOCK, -width % _BLOCK
  padded = jnp.pad(plane, ((0, 0), (0, rows), (0, columns)), mode="edge")
  down, across = (size // _BLOCK for size in padded.shape[1:])
  blocks = padded.reshape(batch, down, _BLOCK, across, _BLOCK).transpose(0, 1, 3, 2, 4)
  pixels, basis = blocks.reshape(-1, _BLOCK, _BLOCK) - 128, _basis()
  # Frequencies come out times 8.
  found = _pass(basis, _pass(basis, pixels, 2, _BITS - _EXTRA), 1, _BITS + _EXTRA)
  eight = jnp.broadcast_to(8 * steps, found.shape)
  found = jnp.sign(found) * ((jnp.abs(found) + eight // 2) // eight) * (eight // 8)
  found = _pass(basis.T, found, 1, _BITS - _EXTRA)
  found = _pass(basis.T, found, 2, _BITS + _EXTRA + 3)
  found = jnp.clip(found + 128, 0, 255)
  blocks = found.reshape(batch, down, across, _BLOCK, _BLOCK).transpose(0, 1, 3, 2, 4)
  return blocks.reshape(padded.shape)[:, :height, :width]


def _pass(matrix: np.ndarray, blocks: types.Array, axis: int, bits: int) -> types.Array:
  """The matrix along one axis of the blocks, over 2^bits, rounded."""
  which = "ij,bjk->bik" if axis == 1 else "ij,bkj->bki"
  return _shifted(jnp.einsum(which, jnp.asarray(matrix), blocks), bits)


def _shifted(numbers: types.Array, bits: int) -> types.Array:
  return (numbers + 2 ** (bits - 1)) >> bits


# --- colour -----------------------------------------------------------------------------


def _fixed(value: float) -> int:
  return math.floor(value * 2**_COLOR_BITS + 0.5)


def _to_ycc(levels: types.Array) -> list[types.Array]:
  """The planes of luma and of the two chroma of RGB levels."""
  red, green, blue = (levels[..., channel] for channel in range(3))
  luma = _fixed(0.299) * red + _fixed(0.587) * green + _fixed(0.114) * blue
  blueness = _fixed(0.5) * blue - _fixed(0.16874) * red - _fixed(0.33126) * green
  redness = _fixed(0.5) * red - _fixed(0.41869) * green - _fixed(0.08131) * blue
  middle = 128 << _COLOR_BITS
  chroma = [_shifted(each + middle - 1, _COLOR_BITS) for each in (blueness, redness)]
  return [_shifted(luma, _COLOR_BITS), *chroma]


def _to_rgb(luma: types.Array, blueness: types.Array, redness: types.Array) -> types.Array:
  """RGB levels of the three planes."""
  blueness, redness = blueness - 128, redness - 128
  changes = (
    _fixed(1.402) * redness,
    -_fixed(0.34414) * blueness - _fixed(0.71414) * redness,
    _fixed(1.772) * blueness,
  )
  colors = [luma + _shifted(change, _COLOR_BITS) for change in changes]
  return jnp.clip(jnp.stack(colors, axis=-1), 0, 255)


def _halved(plane: types.Array) -> types.Array:
  """Means of 2x2 pixels, halves rounded down and up by turns.

  Columns are continued to whole blocks before the mean; rows to a whole pair alone.
  """
  columns, rows = -plane.shape[2] % (2 * _BLOCK), plane.shape[1] % 2
  plane = jnp.pad(plane, ((0, 0), (0, rows), (0, columns)), mode="edge")
  batch, height, width = plane.shape
  sums = plane.reshape(batch, height // 2, 2, width // 2, 2).sum(axis=(2, 4))
  return (sums + jnp.broadcast_to(1 + jnp.arange(width // 2) % 2, sums.shape)) >> 2


def _doubled(plane: types.Array) -> types.Array:
  """Twice as many rows and columns, by a triangle filter: 3/4 and 1/4 of neighbours."""
  sums = _between(_between(plane, 1), 2)
  bias = jnp.broadcast_to(8 - jnp.arange(sums.shape[2]) % 2, sums.shape)
  return (sums + bias) >> 4


def _between(plane: types.Array, axis: int) -> types.Array:
  """Twice as many rows (1) or columns (2), times 4."""
  last = plane.shape[axis] - 1
  neighbours = (np.clip(np.arange(last + 1) + step, 0, last) for step in (-1, 1))
  pair = [3 * plane + jnp.take(plane, places, axis=axis) for places in neighbours]
  shape = list(plane.shape)
  shape[axis] *= 2
  return jnp.stack(pair, axis + 1).reshape(shape)
