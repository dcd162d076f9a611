"""The networks' flax modules: parameters by name, and how images pass them.

The names of `_Conv`, `_Dense` and `_Norm` are those of parameters, from which their initial
values are drawn: another name is another network.
"""

import functools
from collections.abc import Callable

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from pacd_jax import types
from pacd_jax.models import convolution

DTYPE = jnp.float32  # Of parameters, whatever JAX's default type is.
FEATURES = ("features", "last")  # Where a module keeps what its last layer takes.
_GROUPS = 8  # Groups of channels, for norm="group".


class _Conv(nn.Module):
  """The parameters of a convolution: `(kernel, bias)`."""

  features: int
  size: int
  kernel_init: Callable = nn.initializers.lecun_normal()

  @nn.compact
  def __call__(self, channels):
    shape = (self.size, self.size, channels, self.features)
    kernel = self.param("kernel", self.kernel_init, shape, DTYPE)
    return kernel, self.param("bias", nn.initializers.zeros, (self.features,), DTYPE)


class _Dense(nn.Module):
  """The parameters of a dense layer: `(kernel, bias)`, as in `nn.Dense`."""

  features: int

  @nn.compact
  def __call__(self, inputs):
    shape = (inputs, self.features)
    kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, DTYPE)
    return kernel, self.param("bias", nn.initializers.zeros, (self.features,), DTYPE)


class _Norm(nn.Module):
  """A scale and shift of every channel; "group" normalises groups of channels first."""

  kind: str

  @nn.compact
  def __call__(self, x):
    features = x.shape[-1]
    if self.kind == "group":  # Wu and He (2018), https://arxiv.org/abs/1803.08494.
      groups = x.reshape(*x.shape[:-1], _GROUPS, features // _GROUPS)
      groups -= groups.mean(axis=(1, 2, 4), keepdims=True)
      variance = (groups**2).mean(axis=(1, 2, 4), keepdims=True)
      x = (groups * jax.lax.rsqrt(variance + 1e-5)).reshape(x.shape)
    scale = self.param("scale", nn.initializers.ones, (features,), DTYPE)
    shift = self.param("shift", nn.initializers.zeros, (features,), DTYPE)
    return x * scale[None, None, None] + shift[None, None, None]


class Mlp(nn.Module):
  """Dense layers with ReLU between them; without hidden layers the model is linear."""

  num_classes: int
  hidden: tuple[int, ...] = ()

  @nn.compact
  def __call__(self, images):
    x = images.reshape(len(images), -1)
    for features in self.hidden:
      x = nn.relu(nn.Dense(features)(x))
    self.sow(*FEATURES, x)
    return nn.Dense(self.num_classes)(x)


class ConvNet(nn.Module):
  """Blocks of convolutions, each ending in 2x2 max-pooling; a dense layer; logits."""

  num_classes: int
  layout: convolution.Layout
  blocks: tuple[tuple[int, ...], ...]  # Features of the convolutions in each block.
  size: int
  hidden: int
  padding: str = "SAME"
  chunk: int = 0  # Images at a time through the convolutions; 0: all.
  patch: int = 1  # Side of the patches whose pixels become channels first.

  @nn.compact
  def __call__(self, images):
    images = patches(images, self.patch)
    channels, number, blocks = images.shape[-1], 0, []
    for block in self.blocks:
      layers = []
      for features in block:
        layers.append(_Conv(features, self.size, name=f"Conv_{number}")(channels))
        channels, number = features, number + 1
      blocks.append(layers)

    def convolve(x):
      for *layers, (last_kernel, last_bias) in blocks:
        for kernel, bias in layers:
          x = self.layout.conv(x, kernel, 1, self.padding) + self.layout.channels(bias)
          x = nn.relu(x)
        x = self.layout.conv_pool(x, last_kernel, last_bias, self.padding)
      return x

    convolve = convolution.in_chunks(convolve, self.chunk, self.layout.batch_axis)
    x = convolve(self.layout.enter(images))
    kernel, bias = _Dense(self.hidden, name="Dense_0")(x.size // len(images))
    x = nn.relu(self.layout.dense(x, kernel) + bias[None])
    self.sow(*FEATURES, x)
    return nn.Dense(self.num_classes, name="Dense_1")(x)


class StridedNet(nn.Module):
  """Convolutions with strides and without padding, ReLU, a dense layer; logits."""

  num_classes: int
  layout: convolution.Layout
  convolutions: tuple[tuple[int, int, int], ...]  # (features, size, stride) of each.
  hidden: int

  @nn.compact
  def __call__(self, images):
    x, channels = self.layout.enter(images), images.shape[-1]
    for number, (features, size, stride) in enumerate(self.convolutions):
      kernel, bias = _Conv(features, size, name=f"Conv_{number}")(channels)
      x = self.layout.conv(x, kernel, stride, "VALID") + self.layout.channels(bias)
      x, channels = nn.relu(x), features
    kernel, bias = _Dense(self.hidden, name="Dense_0")(x.size // len(images))
    x = nn.relu(self.layout.dense(x, kernel) + bias[None])
    self.sow(*FEATURES, x)
    return nn.Dense(self.num_classes, name="Dense_1")(x)


def patches(images: types.Array, size: int) -> types.Array:
  """Space to depth: `[B, H, W, C]` -> `[B, H / size, W / size, size^2 C]`."""
  chex.assert_rank(images, 4)
  if size == 1:
    return images
  batch, height, width, channels = images.shape
  x = images.reshape(batch, height // size, size, width // size, size, channels)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(
    batch, height // size, width // size, size * size * channels
  )


class ResNet(nn.Module):
  """ResNet v1 of He et al. (2015), section 4.2, for 32x32 images: 6 n + 2 layers.

  It follows the code of PACD's authors (Keras's example): he_normal, biases everywhere, a
  1x1 convolution without norm where a stack halves the image, no weight decay. Their batch
  norm used its initial statistics, which is norm="affine".
  """

  num_classes: int
  layout: convolution.Layout  # A layout of `[B, H, W, C]`.
  blocks: int  # n in each of three stacks of w, 2 w and 4 w features.
  norm: str
  width: int  # w

  @nn.compact
  def __call__(self, images):
    he_normal = nn.initializers.he_normal()
    norm = functools.partial(_Norm, self.norm)

    def conv(features, size, stride=1):
      def convolve(x):
        kernel, bias = _Conv(features, size, he_normal)(x.shape[-1])
        return self.layout.conv(x, kernel, stride, "SAME") + bias[None, None, None]

      return convolve

    x = nn.relu(norm()(conv(self.width, 3)(images)))
    for stack in range(3):
      features = self.width * 2**stack
      for block in range(self.blocks):
        stride = 2 if stack > 0 and block == 0 else 1
        y = nn.relu(norm()(conv(features, 3, stride=stride)(x)))
        y = norm()(conv(features, 3)(y))
        if stride > 1:
          x = conv(features, 1, stride=stride)(x)
        x = nn.relu(x + y)
    x = x.mean(axis=(1, 2))
    self.sow(*FEATURES, x)
    return nn.Dense(self.num_classes, kernel_init=he_normal)(x)
