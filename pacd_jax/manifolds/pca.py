"""The linear manifold of principal component analysis."""

import chex
import jax.numpy as jnp
import numpy as np

from pacd_jax.manifolds.manifold import Manifold, centred, check_dimension


def fit(images: np.ndarray, *, latent_dimension: int) -> Manifold:
  """The affine space through the mean along which images vary most, in whitened latents.

    E(x)_i = v_i . (x - mean) / s_i,   G(z) = mean + sum_i s_i z_i v_i

  v_i are the first right singular vectors of the centred images, and s_i their standard
  deviations along them: Bishop (2006), Pattern Recognition and Machine Learning, section
  12.1. So E(G(z)) = z, the latents of these images are uncorrelated with mean 0 and
  variance 1, and G(E(x)) is the nearest point of the space to x. What G gives is not cut to
  [0, 1]: its range is exactly the space.

  Args:
    images: uint8 or float32 `[n, H, W, C]`; n is at least 2.
    latent_dimension: d, at most the rank of the centred images; then G(E(x)) = x for them.

  Returns:
    The manifold; its arrays are computed in float64 on the host, and kept in float32.

  Raises:
    errors.InputError: d is under 1 or above the rank.
  """
  check_dimension(images, latent_dimension)
  pixels, mean = centred(images)
  _, singular, directions = np.linalg.svd(pixels, full_matrices=False)
  deviations = singular[:latent_dimension, None] / np.sqrt(len(images))
  directions = directions[:latent_dimension]
  to_latents = jnp.asarray((directions / deviations).T, jnp.float32)  # `[HWC, d]`
  to_pixels = jnp.asarray(directions * deviations, jnp.float32)  # `[d, HWC]`
  middle = jnp.asarray(mean[None], jnp.float32)
  image_shape = images.shape[1:]

  def encode(images):
    chex.assert_rank(images, 4)
    flat = images.reshape(len(images), -1) - middle
    return jnp.matmul(flat, to_latents, precision="highest")

  def decode(latents):
    chex.assert_rank(latents, 2)
    pixels = middle + jnp.matmul(latents, to_pixels, precision="highest")
    return pixels.reshape(-1, *image_shape)

  return Manifold(encode, decode, latent_dimension)
