"""Corrupted data: what stays of them, how much is wrong, and what a network cannot see."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized
from scipy import stats

from pacd_jax import losses
from pacd_jax.attacks import corruptions

_IMAGES = np.asarray(jax.random.uniform(jax.random.key(0), (40, 4, 3, 2)))


def _key():
  return jax.random.key(1)


def _pixels(images):
  """Every image's pixels in an order of their own, with their channels."""
  flat = images.reshape(len(images), -1, images.shape[-1])
  order = np.argsort(flat[:, :, 0], axis=1)
  return np.take_along_axis(flat, order[:, :, None], axis=1)


class LabelsTest(parameterized.TestCase):
  @parameterized.parameters(0.0, 0.3, 1.0)
  def test_the_share_that_is_wrong(self, share):
    """p (K - 1) / K; its standard error at 20,000 labels is at most 0.0036."""
    given = np.arange(20_000) % 5
    found = corruptions.labels(given, _key(), share=share, num_classes=5)
    self.assertAlmostEqual((found != given).mean(), share * 4 / 5, delta=0.015)
    if not share:
      np.testing.assert_array_equal(found, given)

  def test_labels_that_are_all_drawn_are_uniform_and_say_nothing(self):
    given = np.repeat(np.arange(4), [10_000, 5000, 2000, 1000])
    found = corruptions.labels(given, _key(), share=1.0, num_classes=4)
    table = np.array(
      [np.bincount(found[given == label], minlength=4) for label in range(4)]
    )
    self.assertGreater(stats.chi2_contingency(table).pvalue, 1e-3)
    self.assertGreater(stats.chisquare(table.sum(0)).pvalue, 1e-3)


class ImagesTest(parameterized.TestCase):
  @parameterized.parameters(corruptions.shuffled_pixels, corruptions.random_pixels)
  def test_each_image_keeps_its_pixels(self, make):
    found = make(_IMAGES, _key())
    np.testing.assert_array_equal(_pixels(found), _pixels(_IMAGES))
    self.assertTrue((found != _IMAGES).any(axis=(1, 2, 3)).all())

  def test_one_order_or_one_for_each_image(self):
    places = np.broadcast_to(np.arange(12).reshape(1, 4, 3, 1), (40, 4, 3, 1))
    shuffled = corruptions.shuffled_pixels(places, _key())
    np.testing.assert_array_equal(shuffled, np.broadcast_to(shuffled[:1], shuffled.shape))
    of_each = corruptions.random_pixels(places, _key()).reshape(40, -1)
    self.assertGreater(len(np.unique(of_each, axis=0)), 35)

  def test_shuffling_is_undone_by_its_inverse(self):
    order = corruptions.shuffled_pixels(np.arange(12).reshape(1, 4, 3, 1), _key()).ravel()
    shuffled = corruptions.shuffled_pixels(_IMAGES, _key()).reshape(40, 12, 2)
    np.testing.assert_array_equal(
      shuffled[:, np.argsort(order)], _IMAGES.reshape(40, 12, 2)
    )

  def test_a_network_of_dense_layers_trains_alike_on_shuffled_pixels(self):
    """Its first layer shuffled too, losses agree at every step."""
    images = jnp.asarray(_IMAGES.reshape(40, 24, 1, 1))
    labels = jnp.arange(40) % 3
    first = jax.random.normal(jax.random.key(2), (24, 8)) / 5.0
    last = jax.random.normal(jax.random.key(3), (8, 3)) / 3.0
    order = corruptions.shuffled_pixels(np.arange(24).reshape(1, 24, 1, 1), _key()).ravel()

    def apply(params, images):
      return jax.nn.relu(images.reshape(len(images), -1) @ params[0]) @ params[1]

    loss, adam, curves = losses.standard(apply), optax.adam(0.01), []

    @jax.jit
    def step(params, state, images):
      given = params, images, labels, jax.random.key(4)
      (value, _), gradient = jax.value_and_grad(loss, has_aux=True)(*given)
      updates, state = adam.update(gradient, state)
      return optax.apply_updates(params, updates), state, value

    shuffled = corruptions.shuffled_pixels(np.asarray(images), _key())
    for params, seen in (((first, last), images), ((first[order], last), shuffled)):
      state, values = adam.init(params), []
      for _ in range(8):
        params, state, value = step(params, state, seen)
        values.append(float(value))
      curves.append(values)
    np.testing.assert_allclose(*curves, rtol=1e-4)
    self.assertLess(curves[0][-1], curves[0][0])

  def test_gaussian_images_have_their_mean_and_variance(self):
    narrow = 0.5 + 0.2 * (_IMAGES.repeat(20, axis=0) - 0.5) * np.array([1.0, 0.5])
    found = corruptions.gaussian_images(narrow, _key())
    for moment in (np.mean, np.std):
      np.testing.assert_allclose(
        moment(found, axis=(0, 1, 2)), moment(narrow, axis=(0, 1, 2)), rtol=0.03
      )
    flat = found.reshape(len(found), -1)
    self.assertLess(abs(np.corrcoef(flat[:, 0], flat[:, 2])[0, 1]), 0.15)


if __name__ == "__main__":
  absltest.main()
