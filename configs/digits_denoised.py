"""Denoised smoothing on scikit-learn's digits, with the denoiser's training set poisoned.

  python main.py --config=configs/digits_denoised.py
  python main.py --config=configs/digits_denoised.py:fast      three victims, n = 1,000
  python main.py --config=configs/digits_denoised.py:smoke     every stage, for tests

Salman et al. (2020), https://arxiv.org/abs/2003.01908: victims are trained without noise,
and each is certified behind a denoiser of its own. The poisons are those of
configs/digits_ga.py, made for smoothed classifiers; rows poison the denoiser's training set
alone. `:denoiser.poisons=both` and `:denoiser.poisons=classifier` are the others.

`:fast`, seed 0, on one of two cores in 2 minutes with the poison of a run of digits_ga
(--config.poisons.pacd=runs/digits_ga); ACR of class 8, mean and standard deviation over
three victims, n = 1,000, alpha = 0.001:

  poisons=            denoiser         both             classifier
  loss=stability
    clean             0.244 +- 0.005   0.244 +- 0.005
    classwise         0.267 +- 0.005   0.135 +- 0.012
    brightness        0.235 +- 0.010   0.059 +- 0.009
    pacd              0.259 +- 0.012   0.040 +- 0.008
  loss=mse
    clean             0.245 +- 0.018   0.245 +- 0.018   0.245 +- 0.018
    classwise         0.234 +- 0.018   0.207 +- 0.038   0.182 +- 0.046
    brightness        0.236 +- 0.016   0.123 +- 0.023   0.081 +- 0.023
    pacd              0.236 +- 0.019   0.071 +- 0.045   0.039 +- 0.032

Without a denoiser the same victims have 0.200 +- 0.010 (clean), 0.067, 0.005 and 0.006, and
victims of Gaussian augmentation 0.268 +- 0.019, 0.189, 0.108 and 0.090.

The number of epochs was not tuned. On the validation split, two victims, n = 1,000 and 60
epochs: stability 0.347 +- 0.009, with access=query 0.336 +- 0.021, mse 0.319 +- 0.004, and
0.287 +- 0.001 without a denoiser.
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
