"""The VAE's bound against closed forms of Gaussians, and its training on small images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import absltest, parameterized
from scipy import stats

from pacd_jax import errors
from pacd_jax.data import arrays
from pacd_jax.manifolds import manifold, vae

_MEAN = np.array([[0.0, 0.5], [-2.0, 1.0]], np.float32)
_LOG_DEVIATION = np.array([[0.0, -1.0], [0.7, 0.2]], np.float32)
_SHAPE = (2, 2, 1)


class BoundTest(absltest.TestCase):
  def test_divergence_is_its_integral(self):
    """E_q[log q - log p] by Gauss-Hermite quadrature, exact for these."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    weights = weights / weights.sum()
    mean, deviation = (a.astype(np.float64)[..., None] for a in (_MEAN, _LOG_DEVIATION))
    deviation = np.exp(deviation)
    z = mean + deviation * nodes
    log_ratio = stats.norm.logpdf(z, mean, deviation) - stats.norm.logpdf(z)
    expected = (log_ratio @ weights).sum(axis=1)
    np.testing.assert_allclose(
      vae.divergence(_MEAN, _LOG_DEVIATION), expected, rtol=1e-5, atol=1e-6
    )

  def test_of_a_linear_decoder_it_is_the_evidence(self):
    """x = W z + b + s eta is Gaussian; with orthogonal columns so is each posterior."""
    noise, num = 0.5, 20_000
    weights = np.array([[1.0, 1.0, 0.5, 0.5], [1.0, -1.0, 0.5, -0.5]]).T
    bias = np.array([0.1, 0.2, 0.3, 0.4])
    image = np.array([0.9, -0.3, 0.8, 0.1])
    precision = 1.0 + (weights**2).sum(axis=0) / noise**2
    mean = (image - bias) @ weights / noise**2 / precision
    evidence = stats.multivariate_normal.logpdf(
      image, bias, weights @ weights.T + noise**2 * np.eye(4)
    )

    def bound(shift):
      def encode(images):
        one = jnp.ones((len(images), 1), jnp.float32)
        posterior = jnp.asarray([mean + shift, -0.5 * np.log(precision)], jnp.float32)
        return one * posterior[:1], one * posterior[1:]

      def decode(latents):
        flat = latents @ jnp.asarray(weights.T, jnp.float32)
        return (flat + jnp.asarray(bias[None], jnp.float32)).reshape(-1, *_SHAPE)

      images = jnp.broadcast_to(
        jnp.asarray(image, jnp.float32).reshape(1, *_SHAPE), (num, *_SHAPE)
      )
      draws = vae.elbo(encode, decode, images, jax.random.key(0), noise=noise)
      return np.asarray(draws, np.float64)

    draws = bound(0.0)
    error = 4.0 * draws.std() / np.sqrt(num)
    self.assertLess(error, 0.05)
    self.assertAlmostEqual(draws.mean(), evidence, delta=error)
    # Another posterior has a bound that is lower by its divergence from the true one.
    lower = evidence - 0.5 * (0.3**2 * precision).sum()
    self.assertAlmostEqual(bound(0.3).mean(), lower, delta=0.1)


class TrainingTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    generator = np.random.default_rng(0)
    latents = generator.uniform(size=(40, 2))
    patterns = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]]) / 2.0
    levels = np.rint(255.0 * latents @ patterns).astype(np.uint8)
    cls.images = levels.reshape(40, *_SHAPE)
    cls.settings = vae.Settings(
      latent_dimension=2, width=16, num_epochs=60, batch_size=10, learning_rate=2e-2
    )
    cls.losses = []
    cls.found = vae.fit(
      cls.images,
      jax.random.key(0),
      cls.settings,
      lambda epoch, loss: cls.losses.append((epoch, loss)),
    )

  @pytest.mark.long
  def test_its_loss_falls(self):
    self.assertEqual([epoch for epoch, _ in self.losses], list(range(1, 61)))
    self.assertLess(self.losses[-1][1], 0.5 * self.losses[0][1])

  @pytest.mark.long
  def test_its_manifold_is_near_the_images(self):
    x = arrays.to_float(self.images)
    left = np.square(np.asarray(manifold.project(self.found, x)) - x).sum()
    whole = np.square(x - x.mean(axis=0)).sum()
    self.assertLess(left, 0.5 * whole)
    self.assertEqual(self.found.encode(x).shape, (40, 2))

  @pytest.mark.long
  def test_decoded_images_are_in_the_box(self):
    latents = 5.0 * np.eye(2, dtype=np.float32)
    decoded = np.asarray(self.found.decode(latents))
    self.assertEqual(decoded.shape, (2, *_SHAPE))
    self.assertBetween(decoded.min(), 0.0, decoded.max())
    self.assertLessEqual(decoded.max(), 1.0)

  @pytest.mark.long
  def test_refuses_more_latents_than_directions(self):
    with self.assertRaisesRegex(errors.InputError, "latent_dimension is 4, .*use 1 to 3"):
      vae.fit(self.images, jax.random.key(0), self.settings._replace(latent_dimension=4))

  @pytest.mark.long
  def test_stops_where_a_loss_is_not_finite(self):
    settings = self.settings._replace(noise=1e-30)
    with self.assertRaisesRegex(errors.NonFiniteError, "VAE is (inf|nan) in epoch 1"):
      vae.train(self.images, jax.random.key(0), settings)


if __name__ == "__main__":
  absltest.main()
