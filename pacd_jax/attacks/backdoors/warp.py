"""The warp: images are bent along a smooth field, the same for all (WaNet)."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import types

_A = -0.75  # Of the cubic convolution kernel, as in PyTorch.


def warp(images: types.Array, field: np.ndarray) -> types.Array:
  """x'(p) = x(p + d(p)), bilinear between pixels; beyond the border, the border's values.

  WaNet, Nguyen and Tran (2021), https://arxiv.org/abs/2102.10369.

  Args:
    images: float32 `[B, H, W, C]` in [0, 1].
    field: d, float32 `[2, H, W]`, in pixels, such as `smooth_field`; at 0 nothing changes.
  """
  chex.assert_rank([images, field], [4, 3])
  _, height, width, channels = images.shape
  places = jnp.asarray(np.indices((height, width), np.float32) + field)
  limits = jnp.array([height - 1, width - 1], jnp.float32)[:, None, None]
  row, column = jnp.clip(places, 0.0, limits)

  def of_channel(channel):
    return jax.scipy.ndimage.map_coordinates(channel, [row, column], 1, mode="nearest")

  planes = jnp.moveaxis(images, -1, 1).reshape(-1, height, width)
  warped = jax.vmap(of_channel)(planes).reshape(-1, channels, height, width)
  return jnp.moveaxis(warped, 1, -1)


def smooth_field(
  height: int, width: int, *, control: int, strength: float, seed: int
) -> np.ndarray:
  """A random smooth field: float32 `[2, H, W]`, in pixels along rows and columns.

    d = s (H - 1) / (2 H) up(v / mean |v|),  v ~ U[-1, 1] on a k x k grid

  with `up` cubic from corner to corner (`align_corners`), and W in H's place along columns:
  in the reference s / H is of coordinates that run from -1 to 1.

  Args:
    height, width: of the images, at least 2.
    control: k; theirs is 4.
    strength: s; theirs is 0.5.
    seed: of v.
  """
  values = np.random.default_rng(seed).uniform(-1.0, 1.0, (2, control, control))
  values /= np.abs(values).mean()
  rows, columns = (_upsampling(control, size) for size in (height, width))
  smooth = np.einsum("hk,dkl,wl->dhw", rows, values, columns)
  scale = np.array([(size - 1) / (2.0 * size) for size in (height, width)])
  return (strength * scale[:, None, None] * smooth).astype(np.float32)


def _upsampling(few: int, many: int) -> np.ndarray:
  """Cubic convolution from few to many places, both from corner to corner: `[many, few]`.

  Keys (1981), https://doi.org/10.1109/TASSP.1981.1163711; a place beyond the border has the
  border's value.
  """
  at = np.linspace(0.0, few - 1.0, many)
  first = np.minimum(np.floor(at).astype(int), few - 1)
  matrix = np.zeros((many, few))
  for offset in (-1, 0, 1, 2):
    place = first + offset
    weights = _cubic(at - place)
    np.add.at(matrix, (np.arange(many), np.clip(place, 0, few - 1)), weights)
  return matrix


def _cubic(distance: np.ndarray) -> np.ndarray:
  d = np.abs(distance)
  near = ((_A + 2.0) * d - (_A + 3.0)) * d**2 + 1.0
  far = ((_A * d - 5.0 * _A) * d + 8.0 * _A) * d - 4.0 * _A
  return np.where(d <= 1.0, near, np.where(d < 2.0, far, 0.0))
