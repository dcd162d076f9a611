"""Denoised smoothing on scikit-learn's digits, with the denoiser's training set poisoned.

  python main.py --config=configs/digits_denoised.py
  python main.py --config=configs/digits_denoised.py:fast      three victims, n = 1,000
  python main.py --config=configs/digits_denoised.py:smoke     every stage, for tests

Salman et al. (2020), https://arxiv.org/abs/2003.01908: victims are trained without noise,
and each is certified behind a denoiser of its own. The poisons are those of
configs/digits_ga.py, made for smoothed classifiers; rows poison the denoiser's training set
alone. `:denoiser.poisons=both` and `:denoiser.poisons=classifier` are the others.

ACR on two cores has not been run yet.
"""

import ml_collections

from configs import base, digits_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", or fields such as "sigma=0.5", separated by commas."""
  config = digits_ga.get_config()
  config.train.loss = "standard"
  config.denoiser.loss = "stability"
  config.denoiser.poisons = "denoiser"
  config.denoiser.num_epochs = 60
  base.apply_variant(config, variant, {"fast": _fast, "smoke": smoke})
  return config


def _fast(config: ml_collections.ConfigDict) -> None:
  """Three victims, denoisers of half the epochs, and few votes."""
  config.train.num_victims = 3
  config.denoiser.num_epochs = 30
  config.certify.n = 1000


def smoke(config: ml_collections.ConfigDict) -> None:
  """Every stage and row at the smallest size; the numbers mean nothing."""
  digits_ga.smoke(config)
  small(config)


def small(config: ml_collections.ConfigDict) -> None:
  """The smallest denoiser."""
  config.denoiser.num_layers = 2
  config.denoiser.width = 4
  config.denoiser.num_epochs = 2
