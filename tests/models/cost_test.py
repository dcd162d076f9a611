"""Tests of what a classifier costs."""

import jax.numpy as jnp
from absl.testing import absltest, parameterized

from pacd_jax import types
from pacd_jax.models import cost, networks


class ForwardFlopsTest(parameterized.TestCase):
  @parameterized.parameters((1, (8, 8, 1)), (20, (4, 5, 3)))
  def test_a_linear_classifier_multiplies_and_adds_each_pixel(self, batch_size, shape):
    model = networks.linear(num_classes=10, image_shape=shape)
    height, width, channels = shape
    products = 2 * batch_size * 10 * height * width * channels
    found = cost.forward_flops(model, shape, batch_size)
    self.assertBetween(found, products, products + 2 * 10 * batch_size)  # And a bias.

  def test_a_classifier_of_constants_costs_nothing(self):
    model = types.Model(
      lambda key, shape: jnp.zeros(3), lambda params, images: jnp.zeros((len(images), 3))
    )
    self.assertEqual(cost.forward_flops(model, (8, 8, 1), 5), 0.0)


if __name__ == "__main__":
  absltest.main()
