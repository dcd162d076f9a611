"""A dtype names the classifier: what is rounded before it is evaluated, and what is not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from pacd_jax import train, types
from pacd_jax.models import precision


def _apply(params, images):
  return images.reshape(len(images), -1) @ params


class EvaluateTest(absltest.TestCase):
  def test_bfloat16_rounds_parameters_and_images(self):
    params = jax.random.normal(jax.random.key(0), (4, 3))
    images = jax.random.uniform(jax.random.key(1), (5, 2, 2, 1))
    rounded = _apply(params.astype(jnp.bfloat16), images.astype(jnp.bfloat16))
    logits = precision.evaluate(_apply, params, images, "bfloat16")
    self.assertEqual(logits.dtype, jnp.float32)
    np.testing.assert_array_equal(logits, rounded.astype(jnp.float32))
    exact = precision.evaluate(_apply, params, images, "float32")
    np.testing.assert_allclose(exact, _apply(params, images), rtol=1e-6)
    self.assertGreater(float(jnp.abs(exact - logits).max()), 1e-4)

  def test_float32_is_at_full_precision(self):
    """An accelerator's own default rounds the factors of products."""
    evaluate = functools.partial(precision.evaluate, _apply, dtype="float32")
    jaxpr = jax.make_jaxpr(evaluate)(jnp.ones((4, 3)), jnp.ones((5, 2, 2, 1)))
    products = [e for e in jaxpr.eqns if e.primitive.name == "dot_general"]
    highest = jax.lax.Precision.HIGHEST
    self.assertEqual([e.params["precision"] for e in products], [(highest, highest)])

  def test_accuracy_is_of_the_classifier_that_is_certified(self):
    """Logits 1 and 1.001: bfloat16 cannot tell them apart, and the first wins."""
    images = np.full((6, 1, 1, 1), 255, np.uint8)
    dataset = types.Dataset(images, np.ones(6, np.int32))
    params = jnp.array([[1.0, 1.001]])
    self.assertEqual(train.accuracy(_apply, params, dataset), 1.0)
    self.assertEqual(train.accuracy(_apply, params, dataset, dtype="bfloat16"), 0.0)


if __name__ == "__main__":
  absltest.main()
