"""Published attacks by name, `attack.preset`: the fields that define each."""

from collections.abc import Mapping
from typing import Any

from pacd_jax.experiment import kinds


def _authors(loss: str) -> Mapping[str, Any]:
  """The attack of the code of Mehra et al. (2021), whatever its batches and steps.

  MACER and SmoothAdv keep one noise draw for each training image, MACER for each validation
  image, too; Gaussian augmentation draws at every evaluation, in the solve as well.
  """
  return {
    "attack.objective": "acr",
    "attack.starts": ("clean",),
    "attack.selection.every": 0,
    "attack.selection.corners": False,
    "attack.selection.rows": (),
    "attack.norm": "linf",
    "attack.poisoned_fraction": 1.0,
    "attack.num_shared_steps": 0,
    "attack.num_frequencies": 0,
    "attack.step_rule": "adam_of_places",
    "attack.step_schedule": "constant",
    "attack.momentum": 0.9,
    "attack.normalize": False,
    "attack.warmup_steps": 0,
    "attack.num_surrogates": 1,
    "attack.warm_start": False,  # `redrawn` keeps its own state.
    "attack.hypergradient": "redrawn",
    "attack.curvature": "hessian",
    "attack.solver": "adam_residual",
    "attack.noise": "fixed" if loss in ("macer", "smoothadv") else "fresh",
    "attack.val_noise": "fixed" if loss == "macer" else "fresh",
    "attack.adversary.ascent": "adam",
  }


kinds.PRESETS.add(
  kinds.Preset(
    "authors",
    _authors,
    "the paper's attack as its authors' code runs it: each image moves by itself from the "
    "clean images, by steps of Adam on hypergradients from Adam on the squared residual.",
  )
)
