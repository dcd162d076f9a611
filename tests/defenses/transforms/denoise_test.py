"""The denoiser: it removes noise of digits, and nothing before it is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import absltest

from pacd_jax.defenses.transforms import denoise
from pacd_jax.experiment.entries import data_sets
from pacd_jax.models import denoiser


class DenoiseTest(absltest.TestCase):
  def test_untrained_it_is_the_identity(self):
    network = denoiser.denoiser(num_layers=3, width=5)
    images = jax.random.normal(jax.random.key(1), (4, 9, 6, 3))
    params = network.init(jax.random.key(0), (9, 6, 3))
    np.testing.assert_array_equal(network.apply(params, images), images)

  @pytest.mark.long
  def test_it_is_what_convolutions_by_hand_give(self):
    network = denoiser.denoiser(num_layers=2, width=5)
    images = jax.random.normal(jax.random.key(1), (4, 9, 6, 3))
    params = network.init(jax.random.key(0), (9, 6, 3))
    keys = iter(jax.random.split(jax.random.key(2), 4))
    params = jax.tree.map(lambda p: jax.random.normal(next(keys), p.shape), params)

    def conv(x, number):
      kernel, bias = params[f"kernel_{number}"], params[f"bias_{number}"]
      axes = ("NHWC", "HWIO", "NHWC")
      x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=axes)
      return x + bias[None, None, None]

    wanted = images - conv(jax.nn.relu(conv(images, 0)), 1)
    np.testing.assert_allclose(network.apply(params, images), wanted, rtol=1e-4, atol=1e-4)

  @pytest.mark.long
  def test_training_removes_noise_of_images_that_it_has_not_seen(self):
    splits = data_sets.load("digits")
    settings = denoise.Settings(num_layers=2, width=8, num_steps=60, learning_rate=1e-2)
    params = denoise.train(splits.validation.images, jax.random.key(0), settings)
    test_key = jax.random.key(1)
    left = denoise.noise_left(params, splits.test.images, test_key, settings)
    self.assertLess(left, 0.75)
    zero = jax.tree.map(jnp.zeros_like, params)
    nothing = denoise.noise_left(
      zero, splits.test.images, jax.random.clone(test_key), settings
    )
    self.assertAlmostEqual(nothing, 1.0, delta=0.02)


if __name__ == "__main__":
  absltest.main()
