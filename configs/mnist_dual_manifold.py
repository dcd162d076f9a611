"""Dual-manifold adversarial training on MNIST, and PACD against it.

  python main.py --config=configs/mnist_dual_manifold.py --config.data.data_dir=FOLDER
  python main.py --config=configs/mnist_dual_manifold.py:fast     two cores, no GPU
  python main.py --config=configs/mnist_dual_manifold.py:smoke    every stage, for tests
  python main.py --config=configs/mnist_dual_manifold.py:train.loss=adversarial,\
attack.loss=adversarial
                                          adversarial training alone, to compare with

Lin et al. (2020), https://arxiv.org/abs/2009.02470, with principal components of the
validation images as the manifold: 32 of them, moved by up to half a standard deviation
each, beside pixels by up to 0.1 (l_inf). Everything else is as in configs/mnist_ga.py, with
one start; the attack lowers the ACR, which is that of networks that train without noise.
--config.data.manifold=vae trains a variational autoencoder in place of PCA. This config has
not been run yet; configs/digits_dual_manifold.py has.
"""

import ml_collections

from configs import base, digits_dual_manifold, mnist_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", fields such as "sigma=0.5"; commas between several."""
  config = mnist_ga.one_start()
  digits_dual_manifold.dual(config)
  config.data.pca.latent_dimension = 32
  config.data.vae.latent_dimension = 32
  config.data.vae.num_epochs = 50
  base.apply_variant(config, variant, {"fast": mnist_ga.fast, "smoke": smoke})
  return config


def smoke(config: ml_collections.ConfigDict) -> None:
  """Every stage and row at the smallest size; the numbers mean nothing."""
  mnist_ga.smoke(config)
  digits_dual_manifold.few_steps(config)
  config.data.pca.latent_dimension = 4
  config.data.vae.latent_dimension = 4
