"""Base classifiers as `Model(init, apply)`: the only file that knows flax.linen.

Every model takes images as they are ([0, 1], plus noise where noise was added) and
returns logits. What a backend needs to be fast stays in this file.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from pacd_jax import errors, types


def _matmul_conv(inputs, kernel, strides, padding, **kwargs):
  """A stride-1 convolution as one matrix product over patches.

  For XLA on CPU: the weight gradient of its own convolution is several times slower, and
  under `vmap` over weights it leaves the fast path (`make bench`, `convolution_gradient`).
  """
  if tuple(strides) != (1, 1) or any(
    factor != (1, 1) for factor in (kwargs["lhs_dilation"], kwargs["rhs_dilation"])
  ):
    raise ValueError("this path is for stride 1 without dilation")
  height, width, in_features, out_features = kernel.shape
  if padding == "SAME":
    before = [(size - 1) // 2 for size in (height, width)]
    pads = [(b, s - 1 - b) for b, s in zip(before, (height, width), strict=True)]
    inputs = jnp.pad(inputs, [(0, 0), *pads, (0, 0)])
  rows, columns = inputs.shape[1] - height + 1, inputs.shape[2] - width + 1
  patches = jnp.concatenate(
    [inputs[:, i : i + rows, j : j + columns] for i in range(height) for j in range(width)],
    axis=-1,
  )
  flat = patches.reshape(-1, height * width * in_features)
  outputs = flat @ kernel.reshape(-1, out_features)
  return outputs.reshape(inputs.shape[0], rows, columns, out_features)


def _convolution(features: int, size: int, padding: str) -> nn.Conv:
  on_cpu = jax.default_backend() == "cpu"
  return nn.Conv(
    features,
    (size, size),
    padding=padding,
    conv_general_dilated=_matmul_conv if on_cpu else None,
  )


def _max_pool(x: types.Array) -> types.Array:
  """2x2 max pooling as reshape-and-max: its gradient is the faster on CPU."""
  batch, height, width, features = x.shape
  x = x[:, : height // 2 * 2, : width // 2 * 2]
  return x.reshape(batch, height // 2, 2, width // 2, 2, features).max(axis=(2, 4))


class _Mlp(nn.Module):
  """Dense layers with ReLU between them; none hidden makes it linear."""

  num_classes: int
  hidden: tuple[int, ...] = ()

  @nn.compact
  def __call__(self, images):
    x = images.reshape(images.shape[0], -1)
    for features in self.hidden:
      x = nn.relu(nn.Dense(features)(x))
    return nn.Dense(self.num_classes)(x)


class _ConvNet(nn.Module):
  """Convolution, ReLU, max-pool; again; one hidden dense layer; logits."""

  num_classes: int
  features: tuple[int, ...]
  kernel_size: int
  padding: str
  hidden: int

  @nn.compact
  def __call__(self, images):
    x = images
    for features in self.features:
      x = _max_pool(nn.relu(_convolution(features, self.kernel_size, self.padding)(x)))
    x = x.reshape(x.shape[0], -1)
    x = nn.relu(nn.Dense(self.hidden)(x))
    return nn.Dense(self.num_classes)(x)


_MODULES = {
  "linear": _Mlp,
  "mlp": functools.partial(_Mlp, hidden=(128, 128)),
  # For 8x8 images: 3x3 kernels, 16 and 32 features, 64 hidden units.
  "small_cnn": functools.partial(
    _ConvNet, features=(16, 32), kernel_size=3, padding="SAME", hidden=64
  ),
  # The paper's MNIST network, a LeNet: 431,080 parameters on 28x28x1 images.
  "mnist_cnn": functools.partial(
    _ConvNet, features=(20, 50), kernel_size=5, padding="VALID", hidden=500
  ),
}
NAMES = tuple(_MODULES)


def make(name: str, *, num_classes: int, image_shape: tuple[int, int, int]) -> types.Model:
  """Builds a model for images of one shape.

  Args:
    name: one of `NAMES`.
    num_classes: number of logits K.
    image_shape: `(H, W, C)`.

  Returns:
    `Model(init, apply)`.

  Raises:
    errors.InputError: the name is unknown or the model cannot take the image shape.
  """
  if name not in _MODULES:
    raise errors.InputError(
      f"model.name={name!r} is not a known model: use one of {', '.join(NAMES)}"
    )
  module = _MODULES[name](num_classes=num_classes)

  def init(key, image_shape):
    return module.init(key, jnp.zeros((1, *image_shape)))["params"]

  def apply(params, images):
    return module.apply({"params": params}, images)

  try:
    jax.eval_shape(functools.partial(init, image_shape=image_shape), jax.random.key(0))
  except (ValueError, TypeError, ZeroDivisionError) as error:
    raise errors.InputError(
      f"model.name={name!r} does not take images of shape {image_shape}: use "
      f"'small_cnn' or 'mlp' for small images ({str(error).splitlines()[0]})"
    ) from None
  return types.Model(init, apply)
