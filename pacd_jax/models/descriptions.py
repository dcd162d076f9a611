"""The networks of `networks.py` as layers with weights, by their parameters alone.

Each function returns a `types.DescribeFn`. Layers are found by the names that their modules
have in the parameters.
"""

from collections.abc import Callable

from pacd_jax import types
from pacd_jax.bounds import layers


def _dense(params, name):
  return layers.Dense(params[name]["kernel"], params[name]["bias"])


def mlp(num_hidden: int) -> types.DescribeFn:
  """Dense layers with ReLU between them."""

  def describe(params):
    found = [layers.Flatten(), _dense(params, "Dense_0")]
    for number in range(num_hidden):
      found += [layers.Relu(), _dense(params, f"Dense_{number + 1}")]
    return tuple(found)

  return describe


def conv_net(
  blocks: tuple[tuple[int, ...], ...],
  padding: str,
  patch: int,
  convolve: Callable[..., types.Array],
) -> types.DescribeFn:
  """Blocks of convolutions with ReLU, each pooled; two dense layers.

  Args:
    blocks: features of the convolutions in each block.
    padding: "SAME" or "VALID".
    patch: side of the patches whose pixels become channels first.
    convolve: `layers.Convolution.convolve`.
  """

  def describe(params):
    number, found = 0, []
    if patch > 1:
      found.append(layers.SpaceToDepth(patch))
    for block in blocks:
      for _ in block:
        of = params[f"Conv_{number}"]
        found += [
          layers.Convolution(of["kernel"], of["bias"], 1, padding, convolve),
          layers.Relu(),
        ]
        number += 1
      found.append(layers.MaxPool())
    found += [layers.Flatten(), _dense(params, "Dense_0"), layers.Relu()]
    return (*found, _dense(params, "Dense_1"))

  return describe


def resnet(blocks: int, convolve: Callable[..., types.Array]) -> types.DescribeFn:
  """ResNet v1 with affine norm: three stacks of `blocks` residual blocks."""

  def describe(params):
    counts = {"_Conv": 0, "_Norm": 0}

    def following(kind):
      counts[kind] += 1
      return params[f"{kind}_{counts[kind] - 1}"]

    def conv(stride=1):
      of = following("_Conv")
      return layers.Convolution(of["kernel"], of["bias"], stride, "SAME", convolve)

    def norm():
      of = following("_Norm")
      return layers.ScaleShift(of["scale"], of["shift"])

    found = [conv(), norm(), layers.Relu()]
    for stack in range(3):
      for block in range(blocks):
        stride = 2 if stack > 0 and block == 0 else 1
        branch = conv(stride), norm(), layers.Relu(), conv(), norm()
        shortcut = (conv(stride),) if stride > 1 else ()
        found += [layers.Residual(branch, shortcut), layers.Relu()]
    return (*found, layers.SpaceMean(), _dense(params, "Dense_0"))

  return describe
