"""What victims memorise of scikit-learn's digits: Zhang et al. (2017), with certificates.

  python main.py --config=configs/digits_memorisation.py
  python main.py --config=configs/digits_memorisation.py:gaussian     with noise
  python main.py --config=configs/digits_memorisation.py:smoke        for tests
  pacd memorisation runs/digits_memorisation runs/digits_memorisation_gaussian

Every row is the whole training split: as it is, with a share of labels or all labels drawn
anew, with pixels in another order, or noise in place of images. Victims have no
augmentation, no weight decay and a constant learning rate.

Expected, seed 0, on two cores (no GPU) in 92 s, and in 45 s more for the certificates of
both runs. "Fitted" is the first epoch with a training accuracy of 99 %, the mean of three
victims; accuracies are of the last epoch's mini-batches, with their noise, of the training
split without noise, and of the test split; ACRs are the mean and standard deviation over
victims on 100 points of all classes of either split, n = 1,000, alpha = 0.001, sigma 0.25.
Training points have the labels that the row gives them.

                    fitted  last epoch  train  test   ACR, train       ACR, test
  standard
  clean                 15     100.0    100.0  97.8   0.361 +- 0.009   0.328 +- 0.015
  shuffled_pixels       23     100.0    100.0  96.6   0.272 +- 0.003   0.243 +- 0.017
  random_pixels         71     100.0    100.0   8.1   0.011 +- 0.003   0.000
  gaussian_images       80     100.0    100.0   7.0   0.000 +- 0.001   0.000
  random_labels        163     100.0    100.0  10.6   0.000            0.000
  corrupted_labels     168     100.0    100.0  55.3   0.003 +- 0.001   0.003 +- 0.002
  gaussian
  clean              never      96.3     99.8  98.0   0.483 +- 0.007   0.456 +- 0.011
  shuffled_pixels    never      95.6     99.6  96.8   0.437 +- 0.008   0.402 +- 0.010
  corrupted_labels   never      56.3     64.3  83.1   0.150 +- 0.009   0.212 +- 0.009
  random_pixels      never      53.0     91.0  10.2   0.061 +- 0.006   0.002 +- 0.003
  gaussian_images    never      40.1     77.3  10.1   0.022 +- 0.003   0.001 +- 0.001
  random_labels      never      32.7     51.0  11.7   0.023 +- 0.011   0.003 +- 0.001

In short, of clean data, test points: standard 0.328, gaussian 0.456.
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
