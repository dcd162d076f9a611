"""Kinds of data sets and of networks."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from pacd_jax import types
from pacd_jax.data import sources
from pacd_jax.registry import Options, Registry


class SourceTools(NamedTuple):
  """The inputs of `DataSet.load`: where stored images may be."""

  data_dir: str  # A folder of prepared data sets; "": TFDS's default.
  path: str  # A file.


@dataclasses.dataclass(frozen=True)
class DataSet:
  """Stored images with labels, and how much of them is for validation."""

  name: str
  load: Callable[[SourceTools, Options], sources.Source]
  words: str
  options: type | None = None
  takes: tuple[str, ...] = ()  # Which of "data_dir" and "path" it uses.
  # If there is a test split, 1 / `validation_share` of the training split is validation.
  validation_share: int = 10


class NetworkTools(NamedTuple):
  """The inputs of `Network.make`."""

  num_classes: int
  image_shape: tuple[int, int, int]
  norm: str


@dataclasses.dataclass(frozen=True)
class Network:
  """A base classifier's architecture."""

  name: str
  make: Callable[[NetworkTools, Options], types.Model]
  words: str
  options: type | None = None
  norms: tuple[str, ...] = ("",)  # Kinds of norm layers; "": it has none.
  has_torch_layout: bool = False  # `models.torch_layout` knows its layers.


DATA_SETS: Registry[DataSet] = Registry("data set")
NETWORKS: Registry[Network] = Registry("network")
