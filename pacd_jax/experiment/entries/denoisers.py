"""Losses of the denoisers of denoised smoothing, by name: the field `denoiser.loss`."""

import dataclasses

from pacd_jax.certification import denoised
from pacd_jax.experiment import fields, kinds


@dataclasses.dataclass(frozen=True)
class Stability:
  """The options of `stability`."""

  access: str = fields.field(
    "full",
    fields.one_of("full", "query"),
    "full: the loss sees the victim itself; query: surrogates of it, trained like it on "
    "the denoiser's training set.",
  )
  num_surrogates: int = fields.field(2, fields.count(most=100), "Of access=query.")


def _stability(tools: kinds.DenoiserTools, options: Stability):
  del options
  return denoised.stability(tools.denoise, tools.classify, sigma=tools.sigma)


for _entry in (
  kinds.DenoiserLoss("none", None, "no denoiser: victims are certified as they are"),
  kinds.DenoiserLoss(
    "mse",
    lambda tools, options: denoised.mse(tools.denoise, sigma=tools.sigma),
    "the mean squared error of denoised images",
  ),
  kinds.DenoiserLoss(
    "stability",
    _stability,
    "the cross-entropy of denoised images to the classifier's own class of clean ones",
    options=Stability,
    num_surrogates=lambda o: o.num_surrogates if o.access == "query" else 0,
    logged=("agreement", "noise_left"),
  ),
):
  kinds.DENOISER_LOSSES.add(_entry)
