"""Attacks side by side on scikit-learn's digits: ACR against time and epsilon.

  python -m pacd_jax.compare --config=configs/digits_compare.py
  python -m pacd_jax.compare --config=configs/digits_compare.py:smoke     for tests

`:smoke` takes some minutes, as each PACD compiles anew, and its numbers mean nothing.

The victims, the attack and the points are those of `configs/digits_ga.py`; every PACD
differs from its settings by the fields below, and `pacd` by none. Leave one out by
--config.attacks.watermark.row= and choose the budgets by --config.epsilons="(0.1,)".

On two cores this has not been run yet. The ACR of class 8 at epsilon 0.1 should be that of
`digits_ga.py`: clean 0.303 +- 0.013, watermark 0.313, classwise 0.206, pacd 0.124.
"""

import ml_collections

from configs import comparisons, digits_ga

_ENSEMBLE = {
  "attack.num_surrogates": 4,
  "attack.normalize": True,
  "attack.damping": 0.1,
  "attack.solver_steps": 10,
}


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: that of `digits_ga`, such as "smoke" or "sigma=0.5"."""
  return comparisons.get_config(
    digits_ga.get_config(variant),
    variant,
    epsilons=(0.05, 0.1),
    baselines=(
      "watermark",
      "classwise",
      "random",
      "brightness",
      "convolution",
      "error_minimizing",
      "targeted_adversarial",
    ),
    variants={
      "pacd": {},
      "pacd_ensemble": _ENSEMBLE,
      "pacd_hessian": {"attack.curvature": "hessian"},
      "pacd_identity": {"attack.solver": "identity"},
      "pacd_unrolling": {"attack.hypergradient": "unrolling"},
      "pacd_single_loop": {
        "attack.solver": "single_loop",
        "attack.solver_steps": 1,
        "attack.solver_learning_rate": 1.0,
        "attack.warm_start": True,
      },
      "pacd_adam": {"attack.step_rule": "adam"},
      "pacd_per_image": {"attack.num_shared_steps": 0},
    },
  )
