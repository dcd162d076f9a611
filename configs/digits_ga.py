"""Gaussian augmentation on scikit-learn's digits: the main job in a few minutes on a CPU.

python main.py --config=configs/digits_ga.py            (`make demo`)
python main.py --config=configs/digits_ga.py:smoke      seconds; proves nothing
"""

import ml_collections

from configs import base


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "" or "smoke"."""
  config = base.get_config()
  config.data.name = "digits"
  config.model.name = "small_cnn"

  attack = config.attack
  attack.num_steps = 300
  attack.num_shared_steps = 300
  attack.step_size = 0.02
  attack.momentum = 0.9
  attack.clean_batch = 180
  attack.poison_batch = 20
  attack.val_batch = 35
  attack.lower_steps = 3
  attack.restart_every = 50
  attack.warmup_steps = 50
  attack.solver_steps = 24
  attack.damping = 0.01

  config.train.num_epochs = 100
  config.train.batch_size = 50
  config.train.learning_rate = 3e-3
  config.train.schedule = "cosine"
  config.certify.n = 10_000
  config.certify.num_points = 0
  base.apply_variant(config, variant, {"smoke": smoke})
  return config


def smoke(config: ml_collections.ConfigDict) -> None:
  """Every stage and row, as small as they go."""
  config.attack.num_steps = 6
  config.attack.num_shared_steps = 3
  config.attack.restart_every = 4
  config.attack.warmup_steps = 2
  config.attack.save_every = 2
  config.train.num_victims = 2
  config.train.num_epochs = 3
  config.train.save_every = 1
  config.certify.n = 200
  config.certify.num_points = 5
