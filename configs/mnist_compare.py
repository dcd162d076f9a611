"""Attacks side by side on MNIST: ACR against time and epsilon.

  python -m pacd_jax.compare --config=configs/mnist_compare.py \\
      --config.data.data_dir=FOLDER
  python -m pacd_jax.compare --config=configs/mnist_compare.py:fast     two cores, no GPU
  python -m pacd_jax.compare --config=configs/mnist_compare.py:smoke    for tests

The victims, the attack and the points are those of `configs/mnist_ga.py`, but for five
victims of every attack in `:fast`, too. Leave an attack out by
--config.attacks.watermark.row= and choose the budgets by --config.epsilons="(0.1,)".

This has not been run yet, so there is no ACR to expect; on two cores `:fast` should take
some two hours.
"""

import ml_collections

from configs import comparisons, mnist_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: that of `mnist_ga`, such as "fast", "smoke" or "sigma=0.5"."""
  base = mnist_ga.get_config(variant)
  items = variant.split(",")
  if "smoke" not in items and not any("train.num_victims=" in item for item in items):
    base.train.num_victims = 5
  return comparisons.get_config(
    base,
    variant,
    epsilons=(0.05, 0.1),
    variants={
      "pacd": {},
      "pacd_ensemble": {
        "attack.num_surrogates": 4,
        "attack.surrogates_at_once": 1,
        "attack.normalize": True,
        "attack.damping": 0.1,
        "attack.num_steps": 150,
        "attack.num_shared_steps": 150,
        "attack.selection.every": 150,
        "attack.starts": ("classwise", "brightness"),
      },
    },
  )
