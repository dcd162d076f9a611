"""Rows that ask what victims memorise (Zhang et al., 2017): the whole training split.

They are no attacks within a budget: every image or label may change.
"""

import dataclasses
from typing import Any

import numpy as np

from pacd_jax.attacks import corruptions
from pacd_jax.data import arrays
from pacd_jax.experiment import fields, kinds
from pacd_jax.experiment.entries import rows as _rows  # noqa: F401  First in tables.

SHUFFLED = "shuffled_pixels"  # Its test images have to be shuffled as well.


@dataclasses.dataclass(frozen=True)
class CorruptedLabels:
  """The options of `corrupted_labels`."""

  share: float = fields.field(
    0.5, fields.interval("[0, 1]"), "Of labels that are drawn anew; some stay the same."
  )


def _relabelled(tools: kinds.RowTools, share: float) -> kinds.Poisoned:
  train = tools.splits.train
  return kinds.Poisoned(
    images=arrays.to_float(train.images),
    labels=corruptions.labels(
      train.labels, tools.key, share=share, num_classes=tools.splits.num_classes
    ),
    indices=np.arange(len(train.labels)),
  )


def _changed(make):
  """A row of changed images, under their labels."""

  def run(tools: kinds.RowTools, options: Any) -> kinds.Poisoned:
    del options
    images = make(arrays.to_float(tools.splits.train.images), tools.key)
    return kinds.Poisoned(images=images, indices=np.arange(len(images)))

  return run


for _row in (
  kinds.Row(
    "corrupted_labels",
    lambda tools, options: _relabelled(tools, options.share),
    "a share of all labels drawn anew, of any class (Zhang et al.).",
    kinds.Style("#E69F00", (0, (9, 1.5))),
    options=CorruptedLabels,
    is_bounded=False,
    is_attack=False,
  ),
  kinds.Row(
    "random_labels",
    lambda tools, options: _relabelled(tools, 1.0),
    "all labels drawn anew: there is nothing to learn of the images.",
    kinds.Style("#D55E00", (0, (2, 1.2))),
    is_bounded=False,
    is_attack=False,
  ),
  kinds.Row(
    SHUFFLED,
    _changed(corruptions.shuffled_pixels),
    "the pixels of all training images in one other order, which test images are not in.",
    kinds.Style("#009E73", (0, (6, 1, 1, 1))),
    is_bounded=False,
    is_attack=False,
  ),
  kinds.Row(
    "random_pixels",
    _changed(corruptions.random_pixels),
    "the pixels of each training image in an order of its own.",
    kinds.Style("#56B4E9", (0, (4, 1.5, 1, 1.5))),
    is_bounded=False,
    is_attack=False,
  ),
  kinds.Row(
    "gaussian_images",
    _changed(corruptions.gaussian_images),
    "Gaussian noise in place of all training images, of their mean and variance.",
    kinds.Style("#666666", (0, (1, 1.5))),
    is_bounded=False,
    is_attack=False,
  ),
):
  kinds.ROWS.add(_row)
