"""Noise of training images: its shape and law, and one draw an image where it is fixed."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest
from scipy import stats

from pacd_jax import noise

_IMAGES = jnp.zeros((50, 6, 6, 2))


class NoiseTest(absltest.TestCase):
  def test_one_key_draws_for_all(self):
    eta = noise.draw(jax.random.key(0), 3, _IMAGES)
    expected = jax.random.normal(jax.random.key(0), (3, 50, 6, 6, 2))
    np.testing.assert_array_equal(eta, expected)

  def test_one_sample_is_a_plain_draw(self):
    eta = noise.draw(jax.random.key(0), 1, _IMAGES)[0]
    np.testing.assert_array_equal(eta, jax.random.normal(jax.random.key(0), _IMAGES.shape))

  def test_each_image_has_its_own_draw(self):
    def of(indices):
      keys = noise.of_images(jax.random.key(1), jnp.asarray(indices))
      return noise.draw(keys, 3, jnp.zeros((len(indices), 6, 6, 2)))

    some, others = of([4, 9, 2]), of([9, 4])
    self.assertEqual(some.shape, (3, 3, 6, 6, 2))
    np.testing.assert_array_equal(some[:, :2], others[:, ::-1])
    self.assertGreater(float(jnp.abs(some[:, 0] - some[:, 1]).min()), 0.0)

  def test_draws_of_images_are_independent_and_normal(self):
    keys = noise.of_images(jax.random.key(2), jnp.arange(50))
    eta = np.asarray(noise.draw(keys, 4, _IMAGES))
    self.assertGreater(stats.kstest(eta.ravel(), "norm").pvalue, 1e-3)
    correlations = np.corrcoef(np.moveaxis(eta, 1, 0).reshape(50, -1))
    # 288 numbers each: standard deviation 0.06, of which 1,225 pairs reach 4.
    self.assertLess(np.abs(correlations - np.eye(50)).max(), 0.3)


if __name__ == "__main__":
  absltest.main()
