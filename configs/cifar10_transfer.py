"""Transfer between training methods on CIFAR-10: Figure 4 c and d of Mehra et al. (2021).

  python main.py --config=configs/cifar10_transfer.py --config.data.data_dir=FOLDER
  python main.py --config=configs/cifar10_transfer.py:fast      two cores, no GPU
  python main.py --config=configs/cifar10_transfer.py:table1    Table 1

The poisons are read from the default folders of finished runs: the same variant of
`configs/cifar10_ga.py`, `cifar10_macer.py`, `cifar10_smoothadv.py`, and of
`cifar10_ga.py:model.name=resnet32` (with `:fast`, `fast,model.name=wide_cnn`); for Table 1,
of `cifar10_standard.py`. A poison from elsewhere is evaluated by the same command:
--config.poisons.yours=FILE.npz; --config.poisons.resnet32= leaves one out. The result is
ACR and ACA of every victim on every poison; it has not been run yet.
"""

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
  )
