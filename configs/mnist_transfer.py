"""Transfer between training methods on MNIST: Figure 4 a and b of Mehra et al. (2021).

  python main.py --config=configs/mnist_transfer.py:sigma=0.5 \\
      --config.data.data_dir=FOLDER
  python main.py --config=configs/mnist_transfer.py:fast        two cores, no GPU
  python main.py --config=configs/mnist_transfer.py:table1      Table 1

The poisons are read from the default folders of finished runs: the same variant of
`configs/mnist_ga.py`, `mnist_macer.py`, `mnist_smoothadv.py`, and of `mnist_ga.py` with
`model.name=wide_cnn` added; for Table 1, of `mnist_standard.py`. A poison from elsewhere is
evaluated by the same command: --config.poisons.yours=FILE.npz; --config.poisons.wide_cnn=
leaves one out. The result is ACR and ACA of every victim on every poison; it has not been
run yet.
"""

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
  )
