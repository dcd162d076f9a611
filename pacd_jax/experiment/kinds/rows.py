"""Kinds of rows, and of what they poison with."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pacd_jax import types
from pacd_jax.experiment.row_tools import Poisoned, RowTools
from pacd_jax.registry import Options, Registry


class Style(NamedTuple):
  """A line style in pictures: a colour, and Matplotlib's dashes."""

  color: str
  dashes: Any = "-"


@dataclasses.dataclass(frozen=True)
class Row:
  """A training set: the clean one, or one with the poison of an attack."""

  name: str
  # None: clean data, and PACD, which `search.py` runs step by step.
  make: Callable[[RowTools, Options], np.ndarray | Poisoned] | None
  words: str
  style: Style | None = None  # None: any style that is free.
  options: type | None = None
  stream: int | None = None  # Its random stream; None: one derived from its name.
  trains_surrogate: bool = False  # By `attack.clean_batch` and its like.
  # Whether `attack.loss` may have an adversary; False: the row adds its own, say.
  takes_adversary: bool = True
  # False: it asks something else of victims, and tables of attacks leave it out.
  is_attack: bool = True
  # The run's budget bounds what it changes; False: its options do, up to all of [0, 1].
  is_bounded: bool = True
  # Checks its options against the data; raises errors.InputError.
  check: Callable[[Options, types.Splits], None] | None = None
  # Its options say which test image is to get the class's label, `target`, and how many
  # images of the class it changes for that, `num_images` (0: all that it may).
  is_targeted: bool = False
  needs_features: bool = False  # The network shows what its last layer takes.


@dataclasses.dataclass(frozen=True)
class Trigger:
  """A fixed change of images that a backdoored victim answers to."""

  name: str
  make: Callable[[Options, tuple[int, int, int]], types.TriggerFn]  # Given `(H, W, C)`.
  words: str
  options: type | None = None
  # Checks its options against the images' shape; raises errors.InputError.
  check: Callable[[Options, tuple[int, int, int]], None] | None = None


@dataclasses.dataclass(frozen=True)
class Start:
  """A first perturbation of PACD."""

  name: str
  # `[1 or n, H, W, C]`; None: the clean images.
  make: Callable[[RowTools, Options], types.Array | None]
  words: str
  options: type | None = None
  is_clean: bool = False  # It is no poison by itself.


ROWS: Registry[Row] = Registry("row")
TRIGGERS: Registry[Trigger] = Registry("trigger")
STARTS: Registry[Start] = Registry("start")
