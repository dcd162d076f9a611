"""Standard training on CIFAR-10, and the attack on its accuracy: Table 1 of the paper.

  python main.py --config=configs/cifar10_standard.py --config.data.data_dir=FOLDER
  python main.py --config=configs/cifar10_standard.py:fast      two cores, no GPU
  python main.py --config=configs/cifar10_standard.py:smoke     every stage, for tests
  python main.py --config=configs/cifar10_transfer.py:table1    its poison on all victims

Traditional poisoning (Mehra et al., 2021, appendix D.1): both levels are cross-entropy
without noise, and the attack maximises the upper one. Everything else is as in
configs/cifar10_ga.py. The paper's accuracy of the class, clean and poisoned: 92.7 and 0.4 %
with standard training, 88.8 and 88.4 % with Gaussian augmentation; ACR is close to 0 either
way. This config has not been run yet.
"""

import ml_collections

from configs import base, cifar10_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", fields such as "sigma=0.5"; commas between several."""
  config = cifar10_ga.get_config()
  config.attack.loss = "standard"
  config.attack.objective = "accuracy"
  config.train.loss = "standard"
  base.apply_variant(
    config, variant, {"fast": cifar10_ga.fast, "smoke": cifar10_ga.smoke, "paper": paper}
  )
  return config


def paper(config: ml_collections.ConfigDict) -> None:
  """Two cores, all images; the attack keeps its last poison, as accuracy is no ACR."""
  cifar10_ga.paper(config)
  config.attack.selection.corners = False
  config.attack.selection.rows = ()
