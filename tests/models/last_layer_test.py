"""Which parameters are a network's last layer's."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors, types
from pacd_jax.experiment.entries import networks
from pacd_jax.models import last_layer

_SHAPE = (4, 4, 1)


class LastLayerTest(parameterized.TestCase):
  @parameterized.parameters(
    ("mlp", {}, (4, 4, 1), "Dense_2"),
    ("small_cnn", {}, (8, 8, 1), "Dense_1"),
    ("thin_resnet8", {"norm": "affine"}, (8, 8, 3), "Dense_0"),
    ("thin_resnet8", {"norm": "group"}, (8, 8, 3), "Dense_0"),
  )
  def test_features_do_not_depend_on_it_and_logits_do(self, name, own, shape, last):
    model = networks.make(name, num_classes=3, image_shape=shape, **own)
    is_last = last_layer.find(model, shape, name)
    layers = {layer: {*jax.tree.leaves(found)} for layer, found in is_last.items()}
    self.assertEqual(layers, {layer: {layer == last} for layer in layers})
    self.assertGreater(len(layers), 1)

  def test_an_array_of_zeros_that_features_depend_on_is_not(self):
    """As a unit that no image reaches: its derivative is 0, and it can still be trained."""

    def features(params, images):
      return images.reshape(len(images), -1) @ (params["dead"] * params["zero"])

    shapes = {"dead": (16, 2), "zero": (16, 2), "last": (2, 3)}
    model = types.Model(
      init=lambda key, shape: {name: jnp.zeros(own) for name, own in shapes.items()},
      apply=lambda params, images: features(params, images) @ params["last"],
      features=features,
    )
    found = last_layer.find(model, _SHAPE, "own")
    self.assertEqual(found, {"dead": False, "zero": False, "last": True})

  def test_a_network_of_one_layer_has_no_other(self):
    model = networks.make("linear", num_classes=3, image_shape=_SHAPE)
    for each in (model, model._replace(features=None)):
      with self.assertRaisesRegex(errors.InputError, "model.name=linear has no layer"):
        last_layer.find(each, _SHAPE, "linear")

  def test_joined(self):
    kept, trained = ({"a": np.full(2, n), "b": np.full(3, n)} for n in (1, 2))
    found = last_layer.joined({"a": False, "b": True}, kept, trained)
    np.testing.assert_array_equal(found["a"], [1, 1])
    np.testing.assert_array_equal(found["b"], [2, 2, 2])


if __name__ == "__main__":
  absltest.main()
