"""What victims memorise of scikit-learn's digits: Zhang et al. (2017), with certificates.

  python main.py --config=configs/digits_memorisation.py
  python main.py --config=configs/digits_memorisation.py:gaussian     with noise
  python main.py --config=configs/digits_memorisation.py:smoke        for tests
  pacd memorisation runs/digits_memorisation runs/digits_memorisation_gaussian

Every row is the whole training split: as it is, with a share of labels or all labels drawn
anew, with pixels in another order, or noise in place of images. Victims have no
augmentation, no weight decay and a constant learning rate.

NUMBERS
"""

import ml_collections

from configs import base, digits_ga

ROWS = (
  *("clean", "shuffled_pixels", "corrupted_labels"),
  *("random_pixels", "gaussian_images", "random_labels"),
)


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "gaussian", "smoke", or fields such as "sigma=0.5", behind commas."""
  config = digits_ga.get_config()
  config.rows = ROWS
  config.train.loss = "standard"
  config.train.num_victims = config.train.victims_at_once = 3
  config.train.num_epochs = 300
  config.train.learning_rate = 1e-3
  config.train.schedule = "constant"
  config.train.save_every = 50
  config.certify.n = 1000
  base.apply_variant(config, variant, {"gaussian": gaussian, "smoke": smoke})
  return config


def gaussian(config: ml_collections.ConfigDict) -> None:
  """The same with Gaussian augmentation."""
  config.train.loss = "gaussian"


def smoke(config: ml_collections.ConfigDict) -> None:
  """Every stage at the smallest size; the numbers mean nothing."""
  digits_ga.smoke(config)
