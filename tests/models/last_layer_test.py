"""Which parameters are a network's last layer's."""

import jax
import numpy as np
from absl.testing import absltest

from pacd_jax import errors
from pacd_jax.experiment.entries import networks
from pacd_jax.models import last_layer

_SHAPE = (4, 4, 1)


class LastLayerTest(absltest.TestCase):
  def test_features_do_not_depend_on_it_and_logits_do(self):
    model = networks.make("mlp", num_classes=3, image_shape=_SHAPE)
    is_last = last_layer.find(model, _SHAPE, "mlp")
    layers = {name: {*jax.tree.leaves(layer)} for name, layer in is_last.items()}
    self.assertEqual(layers, {"Dense_0": {False}, "Dense_1": {False}, "Dense_2": {True}})

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
