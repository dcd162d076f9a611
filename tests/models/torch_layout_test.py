"""PyTorch's layout: networks computed as PyTorch computes them, channels first."""

import jax
import jax.numpy as jnp
import long
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax.experiment import kinds
from pacd_jax.experiment.entries import networks
from pacd_jax.models import torch_layout


def _network(name, image_shape, norm=""):
  """The network, and parameters no two of which are equal."""
  model = networks.make(name, num_classes=3, image_shape=image_shape, norm=norm)
  shapes = jax.eval_shape(lambda key: model.init(key, image_shape), jax.random.key(0))
  rng = np.random.default_rng(0)
  drawn = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape, scale=0.2), shapes)
  return model, jax.tree.map(np.float32, drawn)


def _images(image_shape):
  return np.random.default_rng(1).uniform(size=(2, *image_shape)).astype(np.float32)


def _conv(x, tensors, number, padding):
  kernel, bias = tensors[f"conv.{number}.weight"], tensors[f"conv.{number}.bias"]
  names = ("NCHW", "OIHW", "NCHW")
  x = jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=names)
  return jax.nn.relu(x + bias[None, :, None, None])


def _pool(x):
  window = (1, 1, 2, 2)
  return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")


def _pixel_unshuffle(x, size):
  """As `torch.nn.PixelUnshuffle` is defined: `[B, C, H, W]` to `[B, C r^2, H/r, W/r]`."""
  batch, channels, height, width = x.shape
  x = x.reshape(batch, channels, height // size, size, width // size, size)
  x = x.transpose(0, 1, 3, 5, 2, 4)
  return x.reshape(batch, channels * size**2, height // size, width // size)


def _dense(x, tensors):
  """`torch.nn.Linear` layers with ReLU between them, on `torch.nn.Flatten`."""
  x = x.reshape(len(x), -1)
  number = sum(name.startswith("dense") for name in tensors) // 2
  for layer in range(number):
    x = x @ tensors[f"dense.{layer}.weight"].T + tensors[f"dense.{layer}.bias"][None]
    x = jax.nn.relu(x) if layer < number - 1 else x
  return x


class TorchLayoutTest(parameterized.TestCase):
  @parameterized.parameters(
    # Name, shape of the images, convolutions of each block, padding, patches.
    ("linear", (4, 5, 3), (), "", 1),
    ("patch_cnn", (16, 16, 3), (1, 1, 1), "SAME", 2),
    ("mlp", (4, 5, 3), (), "", 1),
    ("small_cnn", (8, 12, 3), (1, 1), "SAME", 1),
    ("mnist_cnn", (28, 28, 1), (1, 1), "VALID", 1),
    ("vgg", (8, 8, 3), (2, 2, 2), "SAME", 1),
  )
  @pytest.mark.long
  def test_the_network_is_the_same_with_channels_first(
    self, name, image_shape, blocks, padding, patch
  ):
    model, params = _network(name, image_shape)
    images = _images(image_shape)
    tensors = torch_layout.to_torch(params, image_shape[-1])
    x, number = _pixel_unshuffle(images.transpose(0, 3, 1, 2), patch), 0
    for layers in blocks:
      for _ in range(layers):
        x, number = _conv(x, tensors, number, padding), number + 1
      x = _pool(x)
    np.testing.assert_allclose(
      _dense(x, tensors), model.apply(params, images), rtol=1e-4, atol=1e-4
    )

  @parameterized.parameters(*(n.name for n in kinds.NETWORKS if n.has_torch_layout))
  @long.after(4)
  def test_back_to_the_bit(self, name):
    norms = kinds.NETWORKS[name].norms
    _, params = _network(name, (32, 32, 3), norms[0])
    tensors = torch_layout.to_torch(params, 3)
    shapes = {name: array.shape for name, array in tensors.items()}
    self.assertEqual(shapes, torch_layout.shapes(params, 3))
    back = torch_layout.from_torch(tensors, params, 3)
    jax.tree.map(np.testing.assert_array_equal, back, params)

  def test_every_network_of_the_package_but_one_has_it(self):
    """Of `ibp_cnn` it is not known: its strides are no part of a layout's shapes."""
    without = [each.name for each in kinds.NETWORKS if not each.has_torch_layout]
    self.assertEqual(without, ["ibp_cnn"])

  def test_names_and_order(self):
    _, params = _network("resnet20", (32, 32, 3), "group")
    names = [*torch_layout.shapes(params, 3)]
    self.assertEqual(names[:3], ["conv.0.weight", "conv.0.bias", "conv.1.weight"])
    self.assertEqual(names[42:45], ["dense.0.weight", "dense.0.bias", "norm.0.weight"])
    self.assertEqual(names[-1], "norm.18.bias")

  def test_a_layer_of_another_kind(self):
    with self.assertRaisesRegex(ValueError, "layer attention is none of networks.py"):
      torch_layout.shapes({"attention": {"kernel": np.zeros((2, 2))}}, 1)


if __name__ == "__main__":
  absltest.main()
