"""The sinusoid: faint vertical stripes over the whole image (SIG)."""

import chex
import jax.numpy as jnp
import numpy as np

from pacd_jax import types


def sinusoid(images: types.Array, *, delta: float, frequency: float) -> types.Array:
  """x'_ij = clip(x_ij + delta sin(2 pi j f / W)), j from 0 to W - 1.

  SIG, Barni et al. (2019), https://arxiv.org/abs/1902.11237.

  Args:
    images: float32 `[B, H, W, C]` in [0, 1].
    delta: height of the stripes, in image units; theirs is 40/255 for MNIST.
    frequency: f, waves in the width of an image; theirs is 6.
  """
  chex.assert_rank(images, 4)
  width = images.shape[2]
  wave = delta * np.sin(2.0 * np.pi * np.arange(width) * frequency / width)
  return jnp.clip(images + wave.astype(np.float32)[None, None, :, None], 0.0, 1.0)
