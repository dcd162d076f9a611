"""The fields of a config on denoised smoothing."""

import dataclasses

from pacd_jax.experiment import entries as _entries  # noqa: F401  Fills the registries.
from pacd_jax.experiment import fields, kinds
from pacd_jax.experiment.fields import Choice, choice, field

_frozen = dataclasses.dataclass(frozen=True, kw_only=True)


@_frozen
class Denoiser:
  """The denoiser of each victim, before it in what is certified: denoised smoothing."""

  loss: Choice = choice(kinds.DENOISER_LOSSES, "none", "What it is trained by.")
  poisons: str = field(
    "both",
    fields.one_of("both", "classifier", "denoiser"),
    "What is trained on a row's training set; the other of the two is trained on the clean "
    "one.",
  )
  num_layers: int = field(4, fields.count(most=100), "Convolutions of 3x3 pixels.")
  width: int = field(16, fields.count(most=1024), "Their channels.")
  num_epochs: int = field(20, fields.count(), "On its training set.")
  batch_size: int = field(64, fields.count(), "Images of a step.")
  learning_rate: float = field(
    3e-3, fields.above_zero(), "Adam's first; it falls to 0 as a cosine."
  )
  save_every: int = field(5, fields.count(), "Epochs between checkpoints.", free=True)
