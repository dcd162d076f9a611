"""Triggers of backdoors by name, with their options, which are those of rows, too."""

import dataclasses

import jax.numpy as jnp

from pacd_jax.attacks.backdoors import blend, dither, patch, sinusoid, warp
from pacd_jax.data import arrays
from pacd_jax.experiment import fields, kinds

Shape = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Patch:
  """The options of `patch`."""

  pattern: str = fields.field(
    "square", fields.one_of(*patch.PATTERNS), "Of the patch; checkered: every second pixel."
  )
  size: int = fields.field(3, fields.count(most=1000), "Pixels on a side; 1: one pixel.")
  corner: str = fields.field(
    "bottom_right", fields.one_of(*patch.CORNERS), "Where the patch is."
  )
  margin: int = fields.field(
    0, fields.count(0, most=1000), "Pixels between it and the border."
  )
  value: float = fields.field(1.0, fields.interval("[0, 1]"), "Of its pixels.")


@dataclasses.dataclass(frozen=True)
class Faint:
  """The options of an image that shines through others, beside the image."""

  opacity: float = fields.field(
    0.2, fields.interval("[0, 1]"), "Of the image that is blended in."
  )
  seed: int = fields.field(0, fields.count(0), "Of its random pixels, if none is given.")


@dataclasses.dataclass(frozen=True)
class Blend(Faint):
  """The options of `blend`."""

  target: str = fields.field(
    "", fields.text("a text of its pixels, or empty"), "Its pixels, if it is given."
  )


@dataclasses.dataclass(frozen=True)
class Sinusoid:
  """The options of `sinusoid`."""

  delta: float = fields.field(
    40 / 255, fields.interval("(0, 1]"), "Height of the stripes, image units."
  )
  frequency: float = fields.field(
    6.0,
    fields.above_zero(),
    "Waves in the width of an image; its pixels show at most half as many as they are.",
  )


@dataclasses.dataclass(frozen=True)
class Warp:
  """The options of `warp`."""

  control: int = fields.field(
    4, fields.count(most=1000), "k: the field is of k x k random vectors."
  )
  strength: float = fields.field(
    0.5, fields.interval("[0, 100]"), "s: mean length of these along an axis, half pixels."
  )
  seed: int = fields.field(0, fields.count(0), "Of the vectors.")


@dataclasses.dataclass(frozen=True)
class Dither:
  """The options of `dither`."""

  bits: int = fields.field(3, fields.count(most=8), "Of a pixel's value afterwards.")
  method: str = fields.field(
    "floyd_steinberg",
    fields.one_of(*dither.METHODS),
    "How the pixels around make up for rounding.",
  )


def _patch(options: Patch, image_shape: Shape):
  del image_shape
  return fields.bound(patch.patch)(options)


def _check_patch(options: Patch, image_shape: Shape) -> None:
  height, width, _ = image_shape
  patch.check(height, width, size=options.size, margin=options.margin)


def _target(options: Blend, image_shape: Shape):
  if options.target:
    return blend.target_of_text(options.target, image_shape)
  return blend.random_target(options.seed, image_shape)


def _blend(options: Blend, image_shape: Shape):
  target = jnp.asarray(arrays.to_float(_target(options, image_shape)))
  return lambda images: blend.blend(images, target, opacity=options.opacity)


def _check_blend(options: Blend, image_shape: Shape) -> None:
  _target(options, image_shape)


def _sinusoid(options: Sinusoid, image_shape: Shape):
  del image_shape
  return fields.bound(sinusoid.sinusoid)(options)


def _check_sinusoid(options: Sinusoid, image_shape: Shape) -> None:
  sinusoid.check(image_shape[1], frequency=options.frequency)


def _warp(options: Warp, image_shape: Shape):
  height, width, _ = image_shape
  field = warp.smooth_field(height, width, **dataclasses.asdict(options))
  return lambda images: warp.warp(images, field)


def _dither(options: Dither, image_shape: Shape):
  del image_shape
  return fields.bound(dither.dither)(options)


for _trigger in (
  kinds.Trigger(
    "patch",
    _patch,
    "a few pixels in corners take a fixed value (BadNets)",
    options=Patch,
    check=_check_patch,
  ),
  kinds.Trigger(
    "blend",
    _blend,
    "one image shines faintly through all others",
    options=Blend,
    check=_check_blend,
  ),
  kinds.Trigger(
    "sinusoid",
    _sinusoid,
    "faint stripes over the whole image (SIG)",
    options=Sinusoid,
    check=_check_sinusoid,
  ),
  kinds.Trigger(
    "warp", _warp, "images are bent along a smooth field (WaNet)", options=Warp
  ),
  kinds.Trigger("dither", _dither, "few levels and dithering (BppAttack)", options=Dither),
):
  kinds.TRIGGERS.add(_trigger)
