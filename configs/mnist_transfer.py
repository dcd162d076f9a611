"""Transfer between training methods on MNIST."""

import ml_collections

from configs import mnist_ga, mnist_macer, mnist_smoothadv, mnist_standard, transfers


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", "sigma=0.5", of victims and poisons; "table1" too."""
  items = variant.split(",")
  victims = {
    "gaussian": mnist_ga.get_config,
    "macer": mnist_macer.get_config,
    "smoothadv": mnist_smoothadv.get_config,
  }
  poisons = {
    "gaussian": ("mnist_ga", ""),
    "macer": ("mnist_macer", ""),
    "smoothadv": ("mnist_smoothadv", ""),
    "wide_cnn": ("mnist_ga", "model.name=wide_cnn"),
  }
  if "table1" in items:
    items.remove("table1")
    victims = {"standard": mnist_standard.get_config} | victims
    poisons = {"standard": ("mnist_standard", "")}
  return transfers.get_config(victims, poisons, ",".join(items))
