"""Ensembles with certificates against poisoning on MNIST.

  python main.py --config=configs/mnist_aggregation.py --config.data.data_dir=FOLDER
  python main.py --config=configs/mnist_aggregation.py:finite     k = 300, d = 4
  python main.py --config=configs/mnist_aggregation.py:run_off    content, rab likewise
  python main.py --config=configs/mnist_aggregation.py:fast       two cores, no GPU
  python main.py --config=configs/mnist_aggregation.py:smoke      every stage, for tests

The scale of Levine and Feizi (2021), Table 1: one victim of 1,200 networks, each trained on
about 46 images without noise, with random crops. Theirs, with a network in
network of 200 epochs, certifies half of the test points against 448 images, at an accuracy
of 95.81 %; base classifiers have 77.00 %. The network here is `small_cnn`, 120 epochs.

`:fast` is for the ACR that holds under both: one victim of 50 networks with Gaussian
augmentation, on 10,000 images. Neither this scale nor `:fast` has been run as a whole yet,
on two cores or elsewhere.
"""

import ml_collections

from configs import aggregations, base, mnist_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "finite", "run_off", "content", "rab", "fast", "smoke", fields."""
  config = mnist_ga.one_start()
  config.model.name = "small_cnn"
  aggregations.without_noise(config, num_models=1200)
  train = config.train
  train.num_epochs = 120
  train.batch_size = 15
  train.learning_rate = 0.003
  train.augment = "crop"
  train.crop.pad = 2
  train.victims_at_once = 40
  variants = {"fast": fast, "smoke": smoke, **aggregations.variants(rab=100)}
  base.apply_variant(config, variant, variants)
  return config


def fast(config: ml_collections.ConfigDict) -> None:
  """Few networks that certify at test time, too; two cores and no GPU."""
  mnist_ga.fast(config)
  config.rows = ("clean", "classwise", "brightness")
  train = config.train
  train.loss = "gaussian"
  train.ensemble.num_models = 50
  train.num_victims = 1
  train.num_epochs = 60
  train.batch_size = 40
  train.augment = "none"
  train.victims_at_once = 25
  config.certify.n = 1000
  config.certify.num_points = 50
  config.certify.poisoned_images = (1, 2, 5, 10, 20)


def smoke(config: ml_collections.ConfigDict) -> None:
  """Every stage and row at the smallest size; the numbers mean nothing."""
  mnist_ga.smoke(config)
  aggregations.smoke(config)
