"""Descriptions of networks: evaluated, they are the networks; else it is said why not."""

from unittest import mock

import jax
import jax.numpy as jnp
import long
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import errors, types
from pacd_jax.bounds import layers
from pacd_jax.defenses.aggregation import ensemble
from pacd_jax.defenses.transforms import forms
from pacd_jax.experiment import kinds
from pacd_jax.experiment.entries import networks


def _shape(name):
  if "resnet" in name:
    return (9, 8, 3)  # Odd, so that strides and padding count.
  return {"mnist_cnn": (28, 28, 1), "patch_cnn": (16, 16, 3), "ibp_cnn": (13, 14, 1)}.get(
    name, (9, 11, 2)
  )


def _made(name):
  norm, shape = kinds.NETWORKS[name].norms[0], _shape(name)
  model = networks.make(name, num_classes=4, image_shape=shape, norm=norm)
  params = model.init(jax.random.key(0), shape)
  keys = iter(jax.random.split(jax.random.key(1), 300))
  # Biases, scales and shifts away from zeros and ones, so that each counts.
  params = jax.tree.map(
    lambda leaf: leaf + 0.05 * jax.random.normal(next(keys), leaf.shape, jnp.float32),
    params,
  )
  return model, params, jax.random.normal(jax.random.key(2), (3, *shape), jnp.float32)


class DescriptionTest(parameterized.TestCase):
  def test_every_network_is_its_description(self):
    """The cheap ones here; the others below."""
    for name in ("linear", "mlp"):
      self._assert_is_its_description(name)

  @parameterized.parameters(*sorted(set(kinds.NETWORKS.names) - {"linear", "mlp"}))
  @long.after(0)
  def test_every_other_network_is_its_description(self, name):
    self._assert_is_its_description(name)

  def _assert_is_its_description(self, name):
    model, params, images = _made(name)
    found = jax.jit(lambda p, x: layers.apply(layers.of(model, p), x))(params, images)
    expected = jax.jit(model.apply)(params, images)
    tolerance = 2e-5 * float(jnp.abs(expected).max())
    np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=name)

  @pytest.mark.long
  def test_descriptions_are_differentiable_in_the_parameters(self):
    model, params, images = _made("small_cnn")

    def summed(apply):
      return jax.jit(jax.grad(lambda p: jnp.sin(apply(p, images)).sum()))

    ours = summed(lambda p, x: layers.apply(layers.of(model, p), x))(params)
    theirs = summed(model.apply)(params)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
      np.testing.assert_allclose(a, b, atol=1e-5 * max(1.0, float(jnp.abs(b).max())))

  def test_layers_are_pytrees_of_their_weights_alone(self):
    layer = layers.Convolution(jnp.ones((3, 3, 1, 2)), jnp.ones(2), 2, "VALID")
    self.assertLen(jax.tree.leaves(layer), 2)
    doubled = jax.tree.map(lambda leaf: 2.0 * leaf, layer)
    self.assertEqual((doubled.stride, doubled.padding), (2, "VALID"))
    self.assertEmpty(jax.tree.leaves((layers.Relu(), layers.SpaceToDepth(2))))

  def test_a_network_without_bounds_says_why(self):
    group, plain = (
      networks.make(name, num_classes=4, image_shape=(8, 8, 3), norm=norm)
      for name, norm in (("thin_resnet8", "group"), ("linear", ""))
    )
    inside = forms.before(plain, [lambda images: images])
    scheme = mock.Mock(num_models=3)
    voting = ensemble.make(plain, scheme)
    bare = types.Model(plain.init, plain.apply)
    for model, reason in (
      (group, "model.norm=group has none: use model.norm=affine"),
      (inside, "transforms inside"),
      (voting, "ensemble's vote"),
      (bare, "made without a description"),
    ):
      with self.assertRaisesRegex(errors.InputError, f"^train.loss=ibp: .*{reason}"):
        layers.check(model, "train.loss=ibp")
    layers.check(plain)

  def test_a_layer_that_is_not_known_is_named(self):
    with self.assertRaisesRegex(errors.InputError, "a layer dict has no bounds"):
      layers.apply(({},), jnp.ones((1, 2, 2, 1)))


if __name__ == "__main__":
  absltest.main()
