"""Random changes of training images, and mixtures of them, by name.

The fields are `data.augment`, `train.augment` and `train.mix`.
"""

import dataclasses
import functools

from pacd_jax import errors, types
from pacd_jax.defenses import mixing
from pacd_jax.experiment import fields, kinds
from pacd_jax.models import augment


@dataclasses.dataclass(frozen=True)
class Crop:
  """The options of `crop`."""

  pad: int = fields.field(2, fields.count(), "Black pixels on each side.")


@dataclasses.dataclass(frozen=True)
class Cutout:
  """The options of `cutout`."""

  size: int = fields.field(16, fields.count(), "Side of the box, pixels.")


def _check_cutout(options: Cutout, splits: types.Splits) -> None:
  height, width, _ = splits.train.images.shape[1:]
  if options.size > min(height, width):
    raise errors.InputError(
      f"cutout.size is {options.size}, but {splits.name} has images of {height}x{width} "
      f"pixels: use less, such as {max(1, min(height, width) // 2)}, half of a side"
    )


for _entry in (
  kinds.Augment("none", lambda options: None, "images as they are"),
  kinds.Augment(
    "crop_and_flip",
    lambda options: augment.crop_and_flip,
    "random crops of padded images, and flips",
  ),
  kinds.Augment(
    "crop",
    fields.bound(augment.crop),
    "random crops of padded images",
    options=Crop,
  ),
  kinds.Augment("flip", lambda options: augment.flip, "random flips alone: learned sooner"),
  kinds.Augment(
    "cutout",
    lambda options: functools.partial(augment.cutout, size=options.size),
    "a black box in each image (DeVries and Taylor, 2017)",
    options=Cutout,
    check=_check_cutout,
  ),
):
  kinds.AUGMENTS.add(_entry)


# --- mixtures -------------------------------------------------------------------------

_ALPHA = "Of Beta(alpha, alpha), the weight's distribution; 1: uniform."
_PROBABILITY = "That a batch is mixed at all."


@dataclasses.dataclass(frozen=True)
class Mixup:
  """The options of `mixup`."""

  alpha: float = fields.field(1.0, fields.above_zero(), _ALPHA)
  probability: float = fields.field(1.0, fields.interval("(0, 1]"), _PROBABILITY)


@dataclasses.dataclass(frozen=True)
class Cutmix:
  """The options of `cutmix`."""

  alpha: float = fields.field(1.0, fields.above_zero(), _ALPHA)
  probability: float = fields.field(0.5, fields.interval("(0, 1]"), _PROBABILITY)


for _mix in (
  kinds.Mix("none", lambda options: None, "each image by itself"),
  kinds.Mix(
    "mixup",
    fields.bound(mixing.mixup),
    "weighted means of two images (Zhang et al., 2018)",
    options=Mixup,
  ),
  kinds.Mix(
    "cutmix",
    fields.bound(mixing.cutmix),
    "a box of another image in each (Yun et al., 2019)",
    options=Cutmix,
  ),
):
  kinds.MIXES.add(_mix)
