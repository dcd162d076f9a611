"""Transfer between training methods on CIFAR-10."""

import ml_collections

from configs import (
  cifar10_ga,
  cifar10_macer,
  cifar10_smoothadv,
  cifar10_standard,
  transfers,
)


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", "sigma=0.5", of victims and poisons; "table1" too."""
  return transfers.paper(
    variant,
    "cifar10",
    {
      "gaussian": cifar10_ga.get_config,
      "macer": cifar10_macer.get_config,
      "smoothadv": cifar10_smoothadv.get_config,
      "standard": cifar10_standard.get_config,
    },
    other_model="wide_cnn" if "fast" in variant.split(",") else "resnet32",
  )
