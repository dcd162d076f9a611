"""Parameters of `networks.py` as PyTorch stores them, and back; NumPy alone.

PyTorch has the kernel of a convolution as `[F, I, K, K]` and of a dense layer as
`[outputs, inputs]`, and flattens images as `[C, H, W]`. The layers `Conv_2`, `Dense_0` and
`_Norm_1` are `conv.2`, `dense.0` and `norm.1`, as in one `torch.nn.ModuleList` of each
kind; docs/pytorch.md has the modules.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pacd_jax import types

# Kind of a layer -> its parts, and what PyTorch calls them.
_PARTS = {
  "Conv": {"kernel": "weight", "bias": "bias"},
  "Dense": {"kernel": "weight", "bias": "bias"},
  "Norm": {"scale": "weight", "shift": "bias"},
}


class _Place(NamedTuple):
  """One array here and in PyTorch, which is `x.reshape(split).transpose(axes)` reshaped."""

  layer: str
  part: str
  name: str  # In PyTorch.
  shape: tuple[int, ...]
  split: tuple[int, ...]
  axes: tuple[int, ...]
  torch_shape: tuple[int, ...]


def shapes(like: types.Params, channels: int) -> dict[str, tuple[int, ...]]:
  """The tensors of a state dict by name, in the order of the layers.

  Args:
    like: parameters by layer and part; of their shapes alone, too (`jax.eval_shape`).
    channels: C of the images.
  """
  return {place.name: place.torch_shape for place in _places(like, channels)}


def to_torch(params: types.Params, channels: int) -> dict[str, np.ndarray]:
  """The parameters as a state dict; arguments as for `shapes`."""
  tensors = {}
  for place in _places(params, channels):
    array = np.asarray(params[place.layer][place.part])
    array = array.reshape(place.split).transpose(place.axes)
    tensors[place.name] = np.ascontiguousarray(array.reshape(place.torch_shape))
  return tensors


def from_torch(
  tensors: Mapping[str, np.ndarray], like: types.Params, channels: int
) -> dict[str, dict[str, np.ndarray]]:
  """The inverse of `to_torch`; `like` has the parameters' shapes."""
  params: dict[str, dict[str, np.ndarray]] = {}
  for place in _places(like, channels):
    array = tensors[place.name].reshape([place.split[axis] for axis in place.axes])
    array = array.transpose(np.argsort(place.axes)).reshape(place.shape)
    params.setdefault(place.layer, {})[place.part] = np.ascontiguousarray(array)
  return params


def _places(like: types.Params, channels: int) -> list[_Place]:
  """Convolutions first, then dense layers and norms, each kind by number."""
  layers = sorted(like, key=_kind_and_number)
  features = channels  # Of the images that the first dense layer flattens.
  places = []
  for layer in layers:
    kind, number = _kind_and_number(layer)
    for part, word in _PARTS[kind].items():
      shape, name = tuple(like[layer][part].shape), f"{kind.lower()}.{number}.{word}"
      split, axes, torch_shape = shape, (0,), shape
      if len(shape) == 4:  # The first may see patches: its inputs are (pixel, channel).
        size, _, inputs, features = shape
        of_pixel = channels if number == 0 else inputs
        split = size, size, inputs // of_pixel, of_pixel, features
        axes, torch_shape = (4, 3, 2, 0, 1), (features, inputs, size, size)
      elif len(shape) == 2:  # The first flattens an image: its inputs are (pixel, channel).
        inputs, outputs = shape
        of_pixel = features if number == 0 else inputs
        split = inputs // of_pixel, of_pixel, outputs
        axes, torch_shape = (2, 1, 0), (outputs, inputs)
      places.append(_Place(layer, part, name, shape, split, axes, torch_shape))
  return places


def _kind_and_number(layer: str) -> tuple[str, int]:
  """`_Conv_12` as ("Conv", 12)."""
  found = re.fullmatch(r"_?(Conv|Dense|Norm)_(\d+)", layer)
  if found is None:
    raise ValueError(f"layer {layer} is none of networks.py")
  return found[1], int(found[2])
