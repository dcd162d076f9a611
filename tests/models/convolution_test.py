"""The CPU's layout against XLA's convolution: numbers, first and second derivatives."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax.models import convolution


def _by(layout, function):
  """`function(layout, x, ...)` on and to `[B, H, W, C]`."""

  def to_bhwc(x):
    return x.transpose(layout.batch_axis, 1, 2, 3 - layout.batch_axis)

  return lambda x, *args: to_bhwc(function(layout, layout.enter(x), *args))


def _assert_same(test, function, x, *weights, layout=convolution.CHWB):
  """Values, gradients and Hessian products, to 1e-5 of the largest entry."""
  both = [_by(layout, function) for layout in (layout, convolution.NHWC)]
  tangents = [jax.random.normal(jax.random.key(i), w.shape) for i, w in enumerate(weights)]

  def gradient(f):
    return jax.grad(lambda *args: jnp.sum(jnp.sin(f(*args))), argnums=range(3))

  def product(f):
    return jax.jvp(lambda *w: gradient(f)(x, *w), (weights), (tuple(tangents)))[1]

  for of in (lambda f: f(x, *weights), lambda f: gradient(f)(x, *weights), product):
    ours, theirs = (jax.jit(functools.partial(of, f))() for f in both)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
      test.assertEqual(a.shape, b.shape)
      scale = float(jnp.abs(b).max())
      test.assertGreater(scale, 0.0)
      np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * scale)


class LayoutTest(parameterized.TestCase):
  @parameterized.product(
    size=(1, 2, 5), stride=(1, 2), padding=("SAME", "VALID"), shape=((9, 8),)
  )
  def test_convolution(self, size, stride, padding, shape):
    x = jax.random.normal(jax.random.key(7), (3, *shape, 2))
    kernel = jax.random.normal(jax.random.key(8), (size, size, 2, 4))
    bias = jax.random.normal(jax.random.key(9), (4,))

    def conv(layout, x, kernel, bias):
      return layout.conv(x, kernel, stride, padding) + layout.channels(bias)

    _assert_same(self, conv, x, kernel, bias)
    _assert_same(self, conv, x, kernel, bias, layout=convolution.SPLIT)

  @parameterized.product(size=(2, 3, 5), padding=("SAME", "VALID"), shape=((8, 8), (9, 7)))
  def test_convolution_with_pooling(self, size, padding, shape):
    x = jax.random.normal(jax.random.key(7), (3, *shape, 2))
    kernel = jax.random.normal(jax.random.key(8), (size, size, 2, 4))
    bias = jax.random.normal(jax.random.key(9), (4,))

    def conv_pool(layout, x, kernel, bias):
      return layout.conv_pool(x, kernel, bias, padding)

    _assert_same(self, conv_pool, x, kernel, bias)

  def test_ties_in_a_window_go_to_the_first_pixel(self):
    x, kernel = jnp.ones((1, 4, 4, 1)), jnp.ones((1, 1, 1, 1))
    bias = jnp.zeros((1,))
    for layout in (convolution.CHWB, convolution.NHWC):
      pool = _by(layout, lambda lay, x: lay.conv_pool(x, kernel, bias, "VALID"))
      gradient = jax.grad(lambda x, f=pool: f(x).sum())(x)[0, :, :, 0]
      np.testing.assert_array_equal(gradient, np.kron(np.ones((2, 2)), [[1, 0], [0, 0]]))

  @parameterized.product(batch=(1, 4, 8, 9, 12, 13), axis=(0, 3))
  def test_chunks_change_nothing(self, batch, axis):
    weights = jax.random.normal(jax.random.key(0), (3, 2, 5))
    images = jax.random.normal(jax.random.key(1), (batch, 3, 2, 5))
    weights = jnp.expand_dims(weights, axis)
    images = jnp.moveaxis(images, 0, axis)

    def values(weights, images, size):
      def function(x):
        values = jnp.tanh(x * weights)
        return jnp.sum(values, axis=1, keepdims=True)

      return convolution.in_chunks(function, size, axis)(images)

    def gradients(weights, images, size):
      return jax.grad(lambda w, x: jnp.sum(values(w, x, size) ** 2), (0, 1))(
        weights, images
      )

    with jax.numpy_rank_promotion("allow"):
      for f in (values, gradients):
        expected = f(weights, images, 0)
        f4 = f(weights, images, 4)  # Sums in another order.
        chex.assert_trees_all_close(f4, expected, rtol=1e-5, atol=5e-6)

  def test_a_kernel_larger_than_the_image(self):
    x, kernel = jnp.ones((1, 2, 4, 4)), jnp.ones((5, 5, 1, 1))
    with self.assertRaisesRegex(ValueError, "5x5 kernel"):
      convolution.CHWB.conv(x.reshape(1, 4, 4, 2), kernel, 1, "VALID")
    with self.assertRaisesRegex(ValueError, "5x5 kernel"):
      convolution.CHWB.conv_pool(x.reshape(1, 4, 4, 2), kernel, jnp.zeros(1), "VALID")


if __name__ == "__main__":
  absltest.main()
