"""Ensembles with certificates against poisoning on CIFAR-10.

  python main.py --config=configs/cifar10_aggregation.py --config.data.data_dir=FOLDER
  python main.py --config=configs/cifar10_aggregation.py:finite     k = 50, d = 4
  python main.py --config=configs/cifar10_aggregation.py:run_off    content, rab likewise
  python main.py --config=configs/cifar10_aggregation.py:fast       two cores, no GPU
  python main.py --config=configs/cifar10_aggregation.py:smoke      every stage, for tests

One victim of 50 networks, each trained on 900 images without noise. Levine and Feizi
(2021), Table 1, with a network in network of 200 epochs: half of the test points are
certified against 9 images, at an accuracy of 70.13 %; base classifiers have 56.30 %. The
network here is `patch_cnn`, 60 epochs with crops and flips.

`:fast` has Gaussian augmentation, and the ACR that holds under both. Neither this scale nor
`:fast` has been run as a whole yet, on two cores or elsewhere.
"""

import ml_collections

from configs import aggregations, base, cifar10_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "finite", "run_off", "content", "rab", "fast", "smoke", fields."""
  config = cifar10_ga.get_config()
  config.model.name, config.model.norm = "patch_cnn", ""
  aggregations.without_noise(config, num_models=50)
  train = config.train
  train.num_epochs = 60
  train.batch_size = 100
  train.learning_rate = 0.002
  train.augment = "crop_and_flip"
  train.victims_at_once = 10
  variants = {"fast": fast, "smoke": smoke, **aggregations.variants(finite=200, rab=100)}
  base.apply_variant(config, variant, variants)
  return config


def fast(config: ml_collections.ConfigDict) -> None:
  """Few networks that certify at test time, too; two cores and no GPU."""
  config.data.num_train = 10_000
  config.rows = ("clean", "brightness")
  train = config.train
  train.loss = "gaussian"
  train.ensemble.num_models = 20
  train.num_epochs = 30
  train.augment = "flip"
  config.certify.num_points = 50
  config.certify.batch_size = 500
  config.certify.poisoned_images = (1, 2, 5)


def smoke(config: ml_collections.ConfigDict) -> None:
  """Every stage and row at the smallest size; the numbers mean nothing."""
  cifar10_ga.smoke(config)
  aggregations.smoke(config)
