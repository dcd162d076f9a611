"""A small residual denoiser, by flax.linen."""

from typing import NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from pacd_jax import errors, types
from pacd_jax.models import convolution

_SIZE = 3  # Of kernels, pixels on a side.
_CHUNK = 100  # Images that pass at a time on a CPU.


class Denoiser(NamedTuple):
  """A denoiser as pure functions."""

  init: types.InitFn
  apply: types.ApplyFn  # Of noisy images: denoised images of the same shape.


class _Residual(nn.Module):
  """3x3 convolutions with ReLU between them; the last gives the noise."""

  num_layers: int
  width: int
  layout: convolution.Layout
  chunk: int = 0  # Images at a time; 0: all.

  @nn.compact
  def __call__(self, images):
    layers, channels = [], images.shape[-1]
    for number in range(self.num_layers):
      is_last = number == self.num_layers - 1
      features = images.shape[-1] if is_last else self.width
      start = nn.initializers.zeros if is_last else nn.initializers.he_normal()
      shape = (_SIZE, _SIZE, channels, features)
      kernel = self.param(f"kernel_{number}", start, shape, jnp.float32)
      zeros = nn.initializers.zeros
      bias = self.param(f"bias_{number}", zeros, (features,), jnp.float32)
      layers.append((kernel, bias))
      channels = features

    def noise(x):
      for number, (kernel, bias) in enumerate(layers):
        x = nn.relu(x) if number else x
        x = self.layout.conv(x, kernel, 1, "SAME") + self.layout.channels(bias)
      return x

    noise = convolution.in_chunks(noise, self.chunk, self.layout.batch_axis)
    # Entering a layout is a transposition that undoes itself.
    return images - self.layout.enter(noise(self.layout.enter(images)))


def denoiser(*, num_layers: int, width: int) -> Denoiser:
  """x minus the noise that convolutions see in it: DnCNN without its norm layers.

  Zhang et al. (2017), https://arxiv.org/abs/1608.03981, have 17 layers of 64 channels.
  Untrained, it is the identity. `apply` raises `errors.InputError` for images of other
  channels than those of its parameters.

  Args:
    num_layers: convolutions, at least 1.
    width: channels of all but the last.
  """
  on_cpu = jax.default_backend() == "cpu"
  layout = convolution.CHWB if on_cpu else convolution.NHWC
  module = _Residual(num_layers, width, layout, _CHUNK if on_cpu else 0)

  def init(key, image_shape):
    return module.init(key, jnp.zeros((1, *image_shape), jnp.float32))["params"]

  def apply(params, images):
    channels, own = images.shape[-1], params["kernel_0"].shape[2]
    if channels != own:
      raise errors.InputError(
        f"the denoiser is of images of {own} channels, and these have {channels}: use one "
        "that was trained on images of their shape"
      )
    return cast(types.Array, module.apply({"params": params}, images))

  return Denoiser(init, apply)
