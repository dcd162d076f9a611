"""Base classifiers as `Model(init, apply)`, by flax.linen.

Every model takes images in [0, 1], plus noise if noise was added, and returns logits. The
backends' fast convolutions are in `convolution.py`.
"""

import functools
from collections.abc import Callable
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from pacd_jax import errors, types
from pacd_jax.models import convolution, descriptions

ImageShape = tuple[int, int, int]  # `(H, W, C)`.
NORMS = ("affine", "group")
_DTYPE = jnp.float32  # Of parameters, whatever JAX's default type is.
_GROUPS = 8  # Groups of channels, for norm="group".
_FEATURES = ("features", "last")  # Where a module keeps what its last layer takes.


class _Conv(nn.Module):
  """The parameters of a convolution: `(kernel, bias)`."""

  features: int
  size: int
  kernel_init: Callable = nn.initializers.lecun_normal()

  @nn.compact
  def __call__(self, channels):
    shape = (self.size, self.size, channels, self.features)
    kernel = self.param("kernel", self.kernel_init, shape, _DTYPE)
    return kernel, self.param("bias", nn.initializers.zeros, (self.features,), _DTYPE)


class _Dense(nn.Module):
  """The parameters of a dense layer: `(kernel, bias)`, as in `nn.Dense`."""

  features: int

  @nn.compact
  def __call__(self, inputs):
    shape = (inputs, self.features)
    kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, _DTYPE)
    return kernel, self.param("bias", nn.initializers.zeros, (self.features,), _DTYPE)


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
    scale = self.param("scale", nn.initializers.ones, (features,), _DTYPE)
    shift = self.param("shift", nn.initializers.zeros, (features,), _DTYPE)
    return x * scale[None, None, None] + shift[None, None, None]


class _Mlp(nn.Module):
  """Dense layers with ReLU between them; without hidden layers the model is linear."""

  num_classes: int
  hidden: tuple[int, ...] = ()

  @nn.compact
  def __call__(self, images):
    x = images.reshape(len(images), -1)
    for features in self.hidden:
      x = nn.relu(nn.Dense(features)(x))
    self.sow(*_FEATURES, x)
    return nn.Dense(self.num_classes)(x)


class _ConvNet(nn.Module):
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
    images = _patches(images, self.patch)
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
    self.sow(*_FEATURES, x)
    return nn.Dense(self.num_classes, name="Dense_1")(x)


def _patches(images: types.Array, size: int) -> types.Array:
  """Space to depth: `[B, H, W, C]` -> `[B, H / size, W / size, size^2 C]`."""
  if size == 1:
    return images
  batch, height, width, channels = images.shape
  x = images.reshape(batch, height // size, size, width // size, size, channels)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(
    batch, height // size, width // size, size * size * channels
  )


class _ResNet(nn.Module):
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
    self.sow(*_FEATURES, x)
    return nn.Dense(self.num_classes, kernel_init=he_normal)(x)


# --- by name ----------------------------------------------------------------------------


def linear(*, num_classes: int, image_shape: ImageShape) -> types.Model:
  """Softmax regression on pixels."""
  return _model("linear", image_shape, lambda: _Mlp(num_classes), descriptions.mlp(0))


def mlp(*, num_classes: int, image_shape: ImageShape) -> types.Model:
  """A network with two hidden layers of 128 units."""
  module = lambda: _Mlp(num_classes, hidden=(128, 128))  # noqa: E731
  return _model("mlp", image_shape, module, descriptions.mlp(2))


def small_cnn(*, num_classes: int, image_shape: ImageShape) -> types.Model:
  """A network for 8x8 images: 3x3 kernels, 16 and 32 features, 64 hidden units."""
  return conv_net(
    "small_cnn",
    blocks=((16,), (32,)),
    size=3,
    hidden=64,
    chunk=1000,
    num_classes=num_classes,
    image_shape=image_shape,
  )


def mnist_cnn(*, num_classes: int, image_shape: ImageShape) -> types.Model:
  """The paper's MNIST network, a LeNet: 431,080 parameters on 28x28x1 images."""
  return conv_net(
    "mnist_cnn",
    blocks=((20,), (50,)),
    size=5,
    hidden=500,
    padding="VALID",
    chunk=100,
    num_classes=num_classes,
    image_shape=image_shape,
  )


def wide_cnn(*, num_classes: int, image_shape: ImageShape) -> types.Model:
  """A network for transfer: 5x5 kernels, 64 and 128 features, 1024 hidden units."""
  return conv_net(
    "wide_cnn",
    blocks=((64,), (128,)),
    size=5,
    hidden=1024,
    chunk=50,
    num_classes=num_classes,
    image_shape=image_shape,
  )


def patch_cnn(*, num_classes: int, image_shape: ImageShape) -> types.Model:
  """A network that two cores can train on 32x32 images: 3x3 kernels on 2x2 patches.

  Three convolutions of 64, 128 and 256 features and 256 hidden units: 11 million
  multiplications an image, a quarter of ResNet-20's, most of them where images are small.
  """
  return conv_net(
    "patch_cnn",
    blocks=((64,), (128,), (256,)),
    size=3,
    hidden=256,
    patch=2,
    num_classes=num_classes,
    image_shape=image_shape,
  )


def vgg(*, num_classes: int, image_shape: ImageShape) -> types.Model:
  """A network for transfer: three blocks of two 3x3 convolutions."""
  return conv_net(
    "vgg",
    blocks=((32, 32), (64, 64), (128, 128)),
    size=3,
    hidden=256,
    chunk=20,
    num_classes=num_classes,
    image_shape=image_shape,
  )


def resnet(
  depth: int,
  *,
  num_classes: int,
  image_shape: ImageShape,
  norm: str = "affine",
  width: int = 16,
) -> types.Model:
  """ResNet v1 for 32x32 images, see `_ResNet`.

  Args:
    depth: 6 n + 2 layers, such as 20, 32 or 56.
    num_classes: number of logits K.
    image_shape: `(H, W, C)`.
    norm: "affine", a scale and shift of each channel, or "group", the same after a
      normalisation of 8 groups of channels.
    width: channels of the first stack; the next have twice and four times as many.
  """
  layout = convolution.SPLIT if _on_cpu() else convolution.NHWC
  blocks = (depth - 2) // 6
  describe = descriptions.resnet(blocks, _convolve()) if norm == "affine" else None
  return _model(
    f"resnet{depth}",
    image_shape,
    lambda: _ResNet(num_classes, layout=layout, blocks=blocks, norm=norm, width=width),
    describe,
    undescribed=f"model.norm={norm} has none: use model.norm=affine",
  )


def conv_net(
  name: str,
  *,
  num_classes: int,
  image_shape: ImageShape,
  blocks: tuple[tuple[int, ...], ...],
  size: int,
  hidden: int,
  padding: str = "SAME",
  chunk: int = 0,
  patch: int = 1,
) -> types.Model:
  """Blocks of convolutions with ReLU, each ending in 2x2 max-pooling; a dense layer.

  Args:
    name: name in error messages.
    num_classes: number of logits K.
    image_shape: `(H, W, C)`.
    blocks: features of the convolutions in each block.
    size: side of their kernels, in pixels.
    hidden: units of the dense layer.
    padding: "SAME" or "VALID".
    chunk: images that pass the convolutions at a time on a CPU; 0: all.
    patch: side of the patches whose pixels become channels before the first convolution.

  Raises:
    errors.InputError: the network cannot take images of this shape.
  """
  return _model(
    name,
    image_shape,
    lambda: _ConvNet(
      num_classes,
      layout=convolution.CHWB if _on_cpu() else convolution.NHWC,
      blocks=blocks,
      size=size,
      hidden=hidden,
      padding=padding,
      chunk=chunk if _on_cpu() else 0,
      patch=patch,
    ),
    descriptions.conv_net(blocks, padding, patch, _convolve()),
  )


def _on_cpu() -> bool:
  return jax.default_backend() == "cpu"


def _convolve() -> Callable[..., types.Array]:
  """The backend's convolution of `[B, H, W, C]` for descriptions."""
  return convolution.by_products if _on_cpu() else convolution.NHWC.conv


def _model(
  name: str,
  image_shape: ImageShape,
  make: Callable[[], nn.Module],
  describe: types.DescribeFn | None,
  undescribed: str = "",
) -> types.Model:
  """Returns the module as functions, after checking that it takes the image shape."""
  module = make()

  def init(key, image_shape):
    return module.init(key, jnp.zeros((1, *image_shape), _DTYPE))["params"]

  def apply(params, images):
    logits = module.apply({"params": params}, images)
    return cast(types.Array, logits)  # No collection is mutable, so only logits return.

  def features(params, images):
    collection, name = _FEATURES
    _, sown = module.apply({"params": params}, images, mutable=[collection])
    return cast(types.Array, sown[collection][name][0])

  try:
    made = functools.partial(init, image_shape=image_shape)
    if any(
      0 in leaf.shape for leaf in jax.tree.leaves(jax.eval_shape(made, jax.random.key(0)))
    ):
      raise ValueError("no pixel is left for a layer")  # XLA takes such convolutions.
  except (ValueError, TypeError, ZeroDivisionError) as error:
    smaller = "'mlp'" if name == "small_cnn" else "'small_cnn' or 'mlp'"
    raise errors.InputError(
      f"model.name={name!r} does not take images of shape {image_shape}: use {smaller} for "
      f"small images ({str(error).splitlines()[0]})"
    ) from None
  return types.Model(init, apply, features, describe, "" if describe else undescribed)
