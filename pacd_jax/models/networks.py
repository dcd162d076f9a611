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
from pacd_jax.models import convolution, descriptions, modules

ImageShape = tuple[int, int, int]  # `(H, W, C)`.
NORMS = ("affine", "group")


def linear(*, num_classes: int, image_shape: ImageShape) -> types.Model:
  """Softmax regression on pixels."""
  return _model(
    "linear", image_shape, lambda: modules.Mlp(num_classes), descriptions.mlp(0)
  )


def mlp(*, num_classes: int, image_shape: ImageShape) -> types.Model:
  """A network with two hidden layers of 128 units."""
  module = lambda: modules.Mlp(num_classes, hidden=(128, 128))  # noqa: E731
  return _model("mlp", image_shape, module, descriptions.mlp(2))


def small_cnn(*, num_classes: int, image_shape: ImageShape) -> types.Model:
  """A network for 8x8 images: 3x3 kernels, 16 and 32 features, 64 hidden units."""
  model = conv_net(
    "small_cnn",
    blocks=((16,), (32,)),
    size=3,
    hidden=64,
    chunk=1000,
    num_classes=num_classes,
    image_shape=image_shape,
  )
  return model._replace(reverse_products=False)  # On two cores no faster.


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


def ibp_cnn(*, num_classes: int, image_shape: ImageShape) -> types.Model:
  """The small network of Gowal et al. (2018), https://arxiv.org/abs/1810.12715, table 1.

  Convolutions of 16 features, 4x4 with stride 2, and of 32, 4x4; 100 hidden units: without
  pooling, for bounds. 1.2 million multiplications for a 28x28 image.
  """
  convolutions = ((16, 4, 2), (32, 4, 1))
  layout = convolution.CHWB if _on_cpu() else convolution.NHWC
  return _model(
    "ibp_cnn",
    image_shape,
    lambda: modules.StridedNet(num_classes, layout, convolutions, hidden=100),
    descriptions.strided_net(tuple(stride for *_, stride in convolutions), _convolve()),
  )


def resnet(
  depth: int,
  *,
  num_classes: int,
  image_shape: ImageShape,
  norm: str = "affine",
  width: int = 16,
) -> types.Model:
  """ResNet v1 for 32x32 images, see `modules.ResNet`.

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
  model = _model(
    f"resnet{depth}",
    image_shape,
    lambda: modules.ResNet(
      num_classes, layout=layout, blocks=blocks, norm=norm, width=width
    ),
    describe,
    undescribed=f"model.norm={norm} has none: use model.norm=affine",
  )
  return model._replace(microbatch_size=20 if _on_cpu() else 0)


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
  model = _model(
    name,
    image_shape,
    lambda: modules.ConvNet(
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
  return model._replace(
    microbatch_size=chunk if _on_cpu() else 0, reverse_products=_on_cpu()
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
    return module.init(key, jnp.zeros((1, *image_shape), modules.DTYPE))["params"]

  def apply(params, images):
    logits = module.apply({"params": params}, images)
    return cast(types.Array, logits)  # No collection is mutable, so only logits return.

  def features(params, images):
    collection, name = modules.FEATURES
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
