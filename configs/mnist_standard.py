"""Standard training on MNIST, and the attack on its accuracy: Table 1 of the paper.

  python main.py --config=configs/mnist_standard.py --config.data.data_dir=FOLDER
  python main.py --config=configs/mnist_standard.py:fast      two cores, no GPU
  python main.py --config=configs/mnist_standard.py:smoke     every stage, for tests
  python main.py --config=configs/mnist_transfer.py:table1    its poison on all victims

Traditional poisoning (Mehra et al., 2021, appendix D.1): both levels are cross-entropy
without noise, and the attack maximises the upper one. Everything else is as in
configs/mnist_ga.py, with one start. The paper's accuracy of the class, clean and poisoned:
99.3 and 60.1 % with standard training, 99.0 and 98.3 % with Gaussian augmentation; ACR is
close to 0 either way. This config has not been run yet; configs/digits_standard.py has.
"""

import ml_collections

from configs import base, mnist_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", fields such as "sigma=0.5"; commas between several."""
  config = mnist_ga.one_start()
  config.attack.loss = "standard"
  config.attack.objective = "accuracy"
  config.train.loss = "standard"
  base.apply_variant(
    config, variant, {"fast": mnist_ga.fast, "smoke": mnist_ga.smoke, "paper": paper}
  )
  return config


def paper(config: ml_collections.ConfigDict) -> None:
  """Two cores, all images; the attack keeps its last poison, as accuracy is no ACR."""
  mnist_ga.paper(config)
  config.attack.selection.every = 0
