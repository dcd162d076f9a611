"""The sinusoid: faint vertical stripes over the whole image (SIG)."""

import chex
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types


def sinusoid(images: types.Array, *, delta: float, frequency: float) -> types.Array:
  """x'_ij = clip(x_ij + delta sin(2 pi j f / W)), j from 0 to W - 1.

  SIG, Barni et al. (2019), https://arxiv.org/abs/1902.11237, whose trigger for MNIST is a
  ramp; 40/255 and 6 waves, the defaults of the row `sig`, are those of BackdoorBench,
  https://github.com/SCLBD/BackdoorBench. W pixels show at most W/2 waves: of more of them
  the distance from f to the nearest multiple of W is seen.

  Args:
    images: float32 `[B, H, W, C]` in [0, 1].
    delta: height of the stripes, in image units.
    frequency: f, waves in the width of an image.
  """
  chex.assert_rank(images, 4)
  width = images.shape[2]
  wave = delta * np.sin(2.0 * np.pi * np.arange(width) * frequency / width)
  return jnp.clip(images + wave.astype(np.float32)[None, None, :, None], 0.0, 1.0)


def check(width: int, *, frequency: float) -> None:
  """Raises `errors.InputError` if a wave of this frequency is 0 at every pixel."""
  if (2.0 * frequency / width).is_integer():
    raise errors.InputError(
      f"frequency {frequency:g} is a multiple of half the width {width}, so that the wave "
      f"is 0 at every pixel: use less than {width / 2:g}"
    )
