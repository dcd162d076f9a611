"""CROWN-IBP on scikit-learn's digits: the attack on deterministic certificates.

  python main.py --config=configs/digits_crown_ibp.py
  python main.py --config=configs/digits_crown_ibp.py:fast      two victims, fewer steps
  python main.py --config=configs/digits_crown_ibp.py:smoke     every stage, for tests

As configs/digits_ibp.py, with the loss of Zhang et al. (2020) in both levels, and
certificates by the better of linear and interval bounds. Adam's rates are those that were
chosen for IBP. ACR is the mean l_inf radius. This config has not been run yet on two cores.
"""

import ml_collections

from configs import base, digits_ibp


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", or fields such as "seed=1", separated by commas."""
  config = digits_ibp.whole()
  config.attack.loss = config.train.loss = "crown_ibp"
  config.certify.procedure = "crown_ibp"
  config.train.victims_at_once = 1  # So that linear bounds end with the ramp.
  base.apply_variant(config, variant, {"fast": digits_ibp.fast, "smoke": digits_ibp.smoke})
  return config
