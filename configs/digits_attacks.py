"""All attack rows once on scikit-learn's digits: what victims keep, what its attacker gets.

  pacd run --config=configs/digits_attacks.py
  pacd run --config=configs/digits_attacks.py:smoke     for tests

The victims, the points and the budget of 0.1 are those of `configs/digits_ga.py`. Leave an
attack out by --config.attacks.watermark.row= and see docs/suites.md for what the table has.

This table of ACRs has not been run as a whole yet, on two cores or elsewhere.
"""

import ml_collections

from configs import attacks, digits_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: that of `digits_ga`, such as "smoke" or "sigma=0.5"."""
  return attacks.get_config(digits_ga.get_config(variant), variant, target=1)
