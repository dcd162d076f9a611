"""PCA against NumPy's definitions: whitened latents, the nearest points of a space."""

import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.data import arrays
from pacd_jax.manifolds import manifold, pca

_IMAGES = np.random.default_rng(0).integers(0, 256, (20, 3, 3, 1), np.uint8)
_IMAGES[:, 0, 0] = 7  # A pixel that is the same in all.
_RANK = 8
_X = arrays.to_float(_IMAGES)
_FLAT = _X.reshape(20, 9).astype(np.float64)
_CENTRED = _FLAT - _FLAT.mean(axis=0)


class PcaTest(parameterized.TestCase):
  @parameterized.parameters(1, 3, _RANK)
  def test_latents_of_the_fitted_images_are_whitened(self, d):
    latents = np.asarray(pca.fit(_IMAGES, latent_dimension=d).encode(_X), np.float64)
    self.assertEqual(latents.shape, (20, d))
    np.testing.assert_allclose(latents.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(latents.T @ latents / 20, np.eye(d), atol=1e-5)

  def test_full_rank_gives_the_images_back(self):
    found = pca.fit(_IMAGES, latent_dimension=_RANK)
    np.testing.assert_allclose(manifold.project(found, _X), _X, atol=1e-5)

  def test_encoding_undoes_decoding(self):
    found = pca.fit(_IMAGES, latent_dimension=3)
    latents = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_allclose(found.encode(found.decode(latents)), latents, atol=1e-5)

  @parameterized.parameters(1, 3)
  def test_it_leaves_the_least_error_of_any_space(self, d):
    """Eckart and Young: the squared singular values that are left out."""
    found = pca.fit(_IMAGES, latent_dimension=d)
    error = np.square(np.asarray(manifold.project(found, _X), np.float64) - _X).sum()
    left = np.linalg.svd(_CENTRED, compute_uv=False)[d:]
    np.testing.assert_allclose(error, (left**2).sum(), rtol=1e-5)

  def test_projections_are_the_nearest_points(self):
    """What is taken off is orthogonal to the space, for images that were not fitted."""
    found = pca.fit(_IMAGES, latent_dimension=3)
    others = np.random.default_rng(2).uniform(size=(4, 3, 3, 1)).astype(np.float32)
    taken = np.asarray(others - manifold.project(found, others)).reshape(4, 9)
    corners = np.asarray(found.decode(np.eye(3, dtype=np.float32))).reshape(3, 9)
    zero = np.zeros((1, 3), np.float32)
    directions = corners - np.asarray(found.decode(zero)).reshape(1, 9)
    self.assertGreater(np.abs(taken).max(), 0.1)
    np.testing.assert_allclose(taken @ directions.T, 0.0, atol=1e-5)

  def test_images_are_not_cut_to_the_box(self):
    """Else the range of G were no space, and projecting on it not linear."""
    found = pca.fit(_IMAGES, latent_dimension=1)
    far = found.decode(np.array([[20.0]], np.float32))
    self.assertGreater(np.abs(far - 0.5).max(), 1.0)

  @parameterized.parameters(0, _RANK + 1, 500)
  def test_refuses_more_latents_than_directions(self, d):
    with self.assertRaisesRegex(
      errors.InputError, f"latent_dimension is {d}, .* vary in 8 directions: use 1 to 8"
    ):
      pca.fit(_IMAGES, latent_dimension=d)


if __name__ == "__main__":
  absltest.main()
