"""Transfer between training methods on MNIST."""

import ml_collections

from configs import mnist_ga, mnist_macer, mnist_smoothadv, mnist_standard, transfers


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", "sigma=0.5", of victims and poisons; "table1" too."""
  return transfers.paper(
    variant,
    "mnist",
    {
      "gaussian": mnist_ga.get_config,
      "macer": mnist_macer.get_config,
      "smoothadv": mnist_smoothadv.get_config,
      "standard": mnist_standard.get_config,
    },
    other_model="wide_cnn",
  )
