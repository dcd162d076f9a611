"""Transforms of images by name: of `defense.chain`, and of `defense.inside`."""

import dataclasses
import functools
from typing import Any

import jax

from pacd_jax import types
from pacd_jax.defenses.transforms import (
  bit_depth,
  blur,
  denoise,
  forms,
  grayscale,
  jpeg,
)
from pacd_jax.experiment import fields, kinds


@dataclasses.dataclass(frozen=True)
class Jpeg:
  """The options of `jpeg`."""

  quality: int = fields.field(10, fields.count(most=95), "As Pillow's.")


@dataclasses.dataclass(frozen=True)
class BitDepth:
  """The options of `bit_depth`."""

  bits: int = fields.field(2, fields.count(most=8), "Of a channel of a pixel.")


@dataclasses.dataclass(frozen=True)
class Blur:
  """The options of `blur`."""

  sigma: float = fields.field(
    1.0,
    fields.interval("(0, 10]"),
    "Standard deviation, pixels; 0.25 and less is nearly the identity.",
  )


@dataclasses.dataclass(frozen=True)
class Denoise:
  """The options of `denoise`."""

  noise: float = fields.field(
    denoise.Settings().noise,
    fields.interval("(0, 1]"),
    "Largest standard deviation that it is trained for, image units.",
  )
  num_layers: int = fields.field(
    denoise.Settings().num_layers, fields.count(most=20), "Convolutions of 3x3 pixels."
  )
  width: int = fields.field(
    denoise.Settings().width, fields.count(most=1024), "Their channels."
  )
  num_steps: int = fields.field(
    denoise.Settings().num_steps, fields.count(), "Adam steps on validation images."
  )


def _plain(name: str, transform: Any, words: str, options: type) -> None:
  """Registers a transform whose two forms are one function of images."""

  bound = fields.bound(transform)
  defence = kinds.Defence(
    name,
    lambda options: forms.of_training_set(bound(options)),
    words,
    options=options,
    is_per_image=True,
  )
  kinds.DEFENCES.add(defence)
  kinds.TRANSFORMS.add(kinds.Transform(name, lambda tools, given: bound(given), words))


def _denoise(tools: kinds.TransformTools, options: Denoise) -> types.TransformFn:
  """A denoiser that is trained when it is first used, or traced."""
  settings = denoise.Settings(**dataclasses.asdict(options))

  @functools.cache
  def params() -> types.Params:
    with jax.ensure_compile_time_eval():
      key, _ = jax.random.split(jax.random.clone(tools.key))  # As `of_training_set` does.
      return denoise.train(tools.validation.images, key, settings)

  return lambda images: denoise.denoise(images, params(), settings)


_JPEG = "JPEG, written and read again"
kinds.DEFENCES.add(
  kinds.Defence(
    "jpeg",
    lambda options: functools.partial(jpeg.of_training_set, quality=options.quality),
    _JPEG,
    options=Jpeg,
    is_per_image=True,
  )
)
kinds.TRANSFORMS.add(
  kinds.Transform(
    "jpeg",
    lambda tools, options: functools.partial(jpeg.jpeg, quality=options.quality),
    _JPEG,
  )
)
_GRAYSCALE = "colour images become grey"
kinds.DEFENCES.add(
  kinds.Defence(
    "grayscale",
    lambda options: grayscale.of_training_set,
    _GRAYSCALE,
    is_per_image=True,
  )
)
kinds.TRANSFORMS.add(
  kinds.Transform("grayscale", lambda tools, options: grayscale.grayscale, _GRAYSCALE)
)
_plain("bit_depth", bit_depth.bit_depth, "pixels are rounded to few levels", BitDepth)
_plain("blur", blur.blur, "Gaussian blur", Blur)
_DENOISE = "a residual denoiser that is trained on validation images"
kinds.DEFENCES.add(
  kinds.Defence(
    "denoise",
    lambda options: denoise.of_training_set(
      denoise.Settings(**dataclasses.asdict(options))
    ),
    _DENOISE,
    options=Denoise,
    is_per_image=True,
    uses_trusted=lambda options: True,
  )
)
kinds.TRANSFORMS.add(kinds.Transform("denoise", _denoise, _DENOISE, needs_trusted=True))
