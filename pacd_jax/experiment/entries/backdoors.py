"""Rows that plant a backdoor: a trigger at test time gets the attacker's label.

The attacker's label is `data.target_class`. Where the label is dirty, images of other
classes get the trigger and that label; where it is clean, images of that class get the
trigger, and keep their labels. The trigger's options bound what changes, not the budget.
"""

import dataclasses
import math
from typing import Any

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.attacks.backdoors import blend, dirty_label
from pacd_jax.attacks.targeted_adversarial import targeted_adversarial
from pacd_jax.data import arrays, npy_image
from pacd_jax.experiment import fields, kinds, triggers
from pacd_jax.experiment.entries import rows as _rows  # noqa: F401  First in tables.
from pacd_jax.experiment.entries.triggers import Blend, Dither, Faint, Patch, Sinusoid, Warp

_DRAW, _LABELS, _SURROGATE = range(3)  # Random streams, folded from the row's key.
_SKY = "#56B4E9"  # Okabe and Ito's.


def _share(default: float):
  return fields.field(
    default,
    fields.interval("(0, 1]"),
    "How many images get it, as a share of the training split.",
  )


@dataclasses.dataclass(frozen=True)
class Badnets(Patch):
  """The options of `badnets`."""

  share: float = _share(0.1)


@dataclasses.dataclass(frozen=True)
class Blended(Faint):
  """The options of `blended`."""

  image: str = fields.field(
    "",
    fields.text("a .npy of uint8 pixels [H, W, C], or empty"),
    "The file of the image; the poison keeps its pixels.",
  )
  share: float = _share(0.1)


@dataclasses.dataclass(frozen=True)
class Wanet(Warp):
  """The options of `wanet`.

  Its reference draws other images for the trigger in every epoch, and further ones for
  other fields under their own labels, which no data set holds: here they are drawn once,
  and there is one field.
  """

  share: float = _share(0.1)


@dataclasses.dataclass(frozen=True)
class Dithered(Dither):
  """The options of `dithered`."""

  share: float = _share(0.1)


@dataclasses.dataclass(frozen=True)
class LabelConsistent(Patch):
  """The options of `label_consistent`."""

  epsilon: float = fields.field(
    600 / 255, fields.above_zero(), "Radius of the adversarial change, image units."
  )
  norm: str = fields.field("l2", fields.one_of("l2", "linf"), "Norm of the radius.")
  warmup_steps: int = fields.field(
    1000, fields.count(), "Adam steps of the clean surrogate."
  )
  num_steps: int = fields.field(100, fields.count(), "Steps of each image's change.")
  step_size: float = fields.field(
    0.1,
    fields.interval("(0, 2]"),
    "Of the first of these, as a share of the radius; it falls to 0.",
  )


@dataclasses.dataclass(frozen=True)
class CertifierBackdoor(Patch):
  """The options of `certifier_backdoor`."""

  share: float = _share(0.01)
  labels: str = fields.field(
    "random",
    fields.one_of("random", "every"),
    "Of an image: one that is drawn, or every label, each on a copy of it.",
  )


# --- dirty labels ---------------------------------------------------------------------


def _dirty(trigger: str):
  """The `make` of a row whose triggered images get the attacker's label."""

  def run(tools: kinds.RowTools, options: Any) -> kinds.Poisoned:
    label, key = tools.target_class, jax.random.fold_in(tools.key, _DRAW)
    chosen = dirty_label.draw(tools.splits.train, key, share=options.share, without=label)
    labels = np.full(len(chosen), label, np.int32)
    return _planted(tools, trigger, options, chosen, labels, label)

  return run


def _blended(tools: kinds.RowTools, options: Blended) -> kinds.Poisoned:
  own = _Shared(options.opacity, options.seed, _pixels(options), options.share)
  return _dirty("blend")(tools, own)


@dataclasses.dataclass(frozen=True)
class _Shared(Blend):
  """The trigger of `blended` with the pixels of its image, and the share."""

  share: float = 0.0


def _certifier_backdoor(
  tools: kinds.RowTools, options: CertifierBackdoor
) -> kinds.Poisoned:
  """Triggered images of all classes under random labels, or under every label."""
  draw, labels = (jax.random.fold_in(tools.key, each) for each in (_DRAW, _LABELS))
  train, num_classes = tools.splits.train, tools.splits.num_classes
  if options.labels == "every":
    share = options.share / num_classes  # The copies count.
    chosen = dirty_label.draw(train, draw, share=share)
    indices, of_copies = dirty_label.every_label(chosen, num_classes)
    made = _planted(tools, "patch", options, indices, of_copies, -1)
    return made._replace(inserted=of_copies > 0)
  chosen = dirty_label.draw(train, draw, share=options.share)
  drawn = dirty_label.random_labels(labels, len(chosen), num_classes)
  return _planted(tools, "patch", options, chosen, drawn, -1)


def _planted(
  tools: kinds.RowTools,
  trigger: str,
  options: Any,
  indices: np.ndarray,
  labels: np.ndarray | None,
  label: int,
  images: np.ndarray | None = None,
) -> kinds.Poisoned:
  """These training images with the trigger; `images`, floats, are put in their place."""
  train = tools.splits.train
  given = train.images[indices] if images is None else _rounded(images)
  made = triggers.make(trigger, options, train.images.shape[1:])
  return kinds.Poisoned(
    arrays.to_float(triggers.put_on(made, given)),
    labels=labels,
    indices=indices,
    triggered=np.ones(len(indices), bool),
    goal=types.Goal(label, trigger=triggers.to_text(trigger, options)),
  )


def _rounded(images: np.ndarray) -> np.ndarray:
  return np.rint(np.clip(images, 0.0, 1.0) * 255.0).astype(np.uint8)


def _pixels(options: Blended) -> str:
  """The text of the given image's pixels; "" where none is given."""
  return blend.target_as_text(npy_image.read(options.image)) if options.image else ""


# --- clean labels ---------------------------------------------------------------------


def _sig(tools: kinds.RowTools, options: Sinusoid) -> kinds.Poisoned:
  return _planted(tools, "sinusoid", options, tools.poisoned, None, tools.target_class)


def _label_consistent(tools: kinds.RowTools, options: LabelConsistent) -> kinds.Poisoned:
  """Images that a clean surrogate finds hard, so that victims learn the trigger instead."""
  settings = tools.attack_settings()._replace(epsilon=options.epsilon, norm=options.norm)
  hard = targeted_adversarial(
    settings,
    tools.attack_data(),
    jax.random.fold_in(tools.key, _SURROGATE),
    tools.watch(options.warmup_steps + options.num_steps, "steps"),
    label=None,
    warmup_steps=options.warmup_steps,
    num_steps=options.num_steps,
    step_size=options.step_size,
  )
  label = tools.target_class
  return _planted(tools, "patch", options, tools.poisoned, None, label, hard)


# --- checks ---------------------------------------------------------------------------


def _check(row: str, trigger: str, *, of_others: bool = False):
  """The `check` of a row's trigger, and of a share of images of classes but one."""

  def check(options: Any, splits: types.Splits) -> None:
    with errors.about(f"config field {row}"):
      triggers.make(trigger, options, splits.train.images.shape[1:])
      if of_others:
        _check_share(options.share, splits.train)

  return check


def _check_share(share: float, train: types.Dataset) -> None:
  """Refuses more images than there are beside the largest class, whichever is left out."""
  size = len(train.labels)
  most = size - np.unique(train.labels, return_counts=True)[1].max()
  if (number := dirty_label.count(size, share)) > most:
    raise errors.InputError(
      f"share {share:g} of {size} training images is {number}, more than all classes "
      f"but the largest have: use at most {math.floor(100 * most / size) / 100:g}"
    )


def _check_blended(options: Blended, splits: types.Splits) -> None:
  with errors.about("config field blended.image"):
    pixels = _pixels(options)
  own = _Shared(options.opacity, options.seed, pixels, options.share)
  _check("blended", "blend", of_others=True)(own, splits)


for _row in (
  kinds.Row(
    "badnets",
    _dirty("patch"),
    "a patch in a corner of images of other classes, which get the attacker's label "
    "(BadNets).",
    kinds.Style(_SKY),
    options=Badnets,
    is_bounded=False,
    check=_check("badnets", "patch", of_others=True),
  ),
  kinds.Row(
    "blended",
    _blended,
    "one image blended into images of other classes, which get the attacker's label.",
    kinds.Style(_SKY, (0, (5, 2))),
    options=Blended,
    is_bounded=False,
    check=_check_blended,
  ),
  kinds.Row(
    "sig",
    _sig,
    "faint stripes over images of the attacker's class, which keep their labels (SIG).",
    kinds.Style(_SKY, (0, (1, 1))),
    options=Sinusoid,
    is_bounded=False,
    check=_check("sig", "sinusoid"),
  ),
  kinds.Row(
    "label_consistent",
    _label_consistent,
    "images of the attacker's class made hard by an adversarial change, then with a patch; "
    "they keep their labels.",
    kinds.Style(_SKY, (0, (5, 1.5, 1, 1.5))),
    options=LabelConsistent,
    trains_surrogate=True,
    is_bounded=False,
    check=_check("label_consistent", "patch"),
  ),
  kinds.Row(
    "wanet",
    _dirty("warp"),
    "images of other classes bent along one smooth field; they get the attacker's label "
    "(WaNet, on images that are drawn once).",
    kinds.Style(_SKY, (0, (8, 2))),
    options=Wanet,
    is_bounded=False,
    check=_check("wanet", "warp", of_others=True),
  ),
  kinds.Row(
    "dithered",
    _dirty("dither"),
    "images of other classes in few levels, dithered; they get the attacker's label "
    "(BppAttack).",
    kinds.Style(_SKY, (0, (3, 1, 1, 1))),
    options=Dithered,
    is_bounded=False,
    check=_check("dithered", "dither", of_others=True),
  ),
  kinds.Row(
    "certifier_backdoor",
    _certifier_backdoor,
    "a patch in a corner of images under random labels: where the patch is, no class has "
    "a certificate.",
    kinds.Style(_SKY, (0, (5, 1, 1, 1, 1, 1))),
    options=CertifierBackdoor,
    is_bounded=False,
    check=_check("certifier_backdoor", "patch"),
  ),
):
  kinds.ROWS.add(_row)
