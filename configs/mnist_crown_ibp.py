"""CROWN-IBP on MNIST: the attack on deterministic certificates.

  python main.py --config=configs/mnist_crown_ibp.py --config.data.data_dir=FOLDER
  python main.py --config=configs/mnist_crown_ibp.py:fast       two cores, no GPU
  python main.py --config=configs/mnist_crown_ibp.py:smoke      every stage, for tests

As configs/mnist_ibp.py, with the loss of Zhang et al. (2020) in both levels, and
certificates by the better of linear and interval bounds. Adam's rates are those that were
chosen for IBP. ACR is the mean l_inf radius. One victim of clean data, with the ramp over 5
of 20 epochs, is right on 98.5 % of the test images and verified at 0.1 on 96.2 %, after 61
minutes on one core beside other work (docs/bounds.md has the command). The attack has not
been run at this scale.
"""

import ml_collections

from configs import base, mnist_ibp


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", fields such as "seed=1"; commas between several."""
  config = mnist_ibp.whole()
  config.attack.loss = config.train.loss = "crown_ibp"
  config.certify.procedure = "crown_ibp"
  base.apply_variant(config, variant, {"fast": mnist_ibp.fast, "smoke": smoke})
  return config


def smoke(config: ml_collections.ConfigDict) -> None:
  """As IBP's, with one victim: linear bounds of all test images take long."""
  mnist_ibp.smoke(config)
  config.rows = ("clean", "pacd")
  config.train.num_victims = 1
