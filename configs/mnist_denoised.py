"""Denoised smoothing on MNIST: a classifier that never saw noise, behind a denoiser.

  python main.py --config=configs/mnist_denoised.py --config.data.data_dir=FOLDER
  python main.py --config=configs/mnist_denoised.py:fast      two cores, no GPU
  python main.py --config=configs/mnist_denoised.py:smoke     every stage, for tests

Salman et al. (2020), https://arxiv.org/abs/2003.01908, as in configs/digits_denoised.py.
Everything else is as in configs/mnist_ga.py, with one start of the attack.

ACR on two cores has not been run yet.
"""

import ml_collections

from configs import base, digits_denoised, mnist_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", fields such as "sigma=0.5"; commas between several."""
  config = mnist_ga.one_start()
  config.rows = ("clean", "classwise", "brightness", "pacd")
  config.train.loss = "standard"
  config.denoiser.loss = "stability"
  config.denoiser.poisons = "denoiser"
  config.denoiser.num_epochs = 10
  config.denoiser.batch_size = 100
  base.apply_variant(config, variant, {"fast": fast, "smoke": smoke})
  return config


def fast(config: ml_collections.ConfigDict) -> None:
  """For two cores and no GPU."""
  mnist_ga.fast(config)
  config.denoiser.num_epochs = 5
  config.denoiser.save_every = 1
  config.certify.n = 1000
  config.certify.num_points = 100


def smoke(config: ml_collections.ConfigDict) -> None:
  """Every stage and row at the smallest size; the numbers mean nothing."""
  mnist_ga.smoke(config)
  digits_denoised.small(config)
