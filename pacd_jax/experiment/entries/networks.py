"""Base classifiers by name: `model.name`."""

from collections.abc import Callable
from typing import Any

from pacd_jax import errors, types
from pacd_jax.experiment import kinds
from pacd_jax.models import networks


def _plain(
  function: Callable[..., types.Model], words: str, *, has_torch_layout: bool = True
) -> None:
  """Registers a network without norm layers or options, under its function's name."""

  def build(tools: kinds.NetworkTools, options: Any) -> types.Model:
    del options
    return function(num_classes=tools.num_classes, image_shape=tools.image_shape)

  entry = kinds.Network(function.__name__, build, words, has_torch_layout=has_torch_layout)
  kinds.NETWORKS.add(entry)


def _resnet(name: str, words: str, depth: int, width: int) -> None:
  def build(tools: kinds.NetworkTools, options: Any) -> types.Model:
    del options
    return networks.resnet(depth, width=width, **tools._asdict())

  norms = networks.NORMS
  kinds.NETWORKS.add(kinds.Network(name, build, words, norms=norms, has_torch_layout=True))


_plain(networks.linear, "softmax regression on pixels")
_plain(networks.mlp, "two hidden layers of 128 units")
_plain(networks.small_cnn, "two convolutions for 8x8 images")
_plain(networks.mnist_cnn, "the paper's MNIST network, a LeNet")
_plain(networks.wide_cnn, "a LeNet with three times as many features")
_plain(networks.patch_cnn, "three convolutions on patches, for 32x32 images on two cores")
_plain(networks.vgg, "three blocks of two convolutions")
_plain(
  networks.ibp_cnn,
  "two convolutions without pooling, for interval bounds (Gowal et al., 2018)",
  has_torch_layout=False,
)
for _depth in (20, 32, 56):
  _words = f"ResNet-{_depth} of He et al. (2015) for 32x32 images"
  _resnet(f"resnet{_depth}", _words, _depth, 16)
_resnet("thin_resnet8", "ResNet-8 with half the channels, for smoke runs", 8, 8)


def make(
  name: str,
  *,
  num_classes: int,
  image_shape: tuple[int, int, int],
  norm: str = "",
  options: Any = None,
) -> types.Model:
  """Builds a network for images of one shape.

  Args:
    name: the name of an entry of `kinds.NETWORKS`.
    num_classes: number of logits K.
    image_shape: `(H, W, C)`.
    norm: one of the entry's kinds of norm layers; "": it has none.
    options: the entry's options, if it has any.

  Raises:
    errors.InputError: the name is unknown, the norm is not this network's, or the network
      cannot take the image shape.
  """
  if not isinstance(num_classes, int) or num_classes < 1:
    raise errors.InputError(f"num_classes is {num_classes!r}: give a whole number above 0")
  sizes = tuple(image_shape) if isinstance(image_shape, tuple | list) else ()
  if len(sizes) != 3 or not all(isinstance(size, int) and size > 0 for size in sizes):
    raise errors.InputError(f"image_shape is {image_shape!r}: give (H, W, C)")
  if name not in kinds.NETWORKS:
    raise errors.InputError(
      f"model.name={name!r} is not a known model: use one of "
      + ", ".join(kinds.NETWORKS.names)
    )
  entry = kinds.NETWORKS[name]
  if norm not in entry.norms:
    known = " or ".join(map(repr, entry.norms))
    raise errors.InputError(f"model.norm={norm!r} is none of {name}'s: use {known}")
  if options is None and entry.options is not None:
    options = entry.options()
  return entry.make(kinds.NetworkTools(num_classes, image_shape, norm), options)
