"""Code shared by all comparisons: the base of all attacks, the budgets, and the attacks.

Not an experiment by itself.
"""

from collections.abc import Mapping
from typing import Any

import ml_collections

from pacd_jax import types
from pacd_jax.experiment import entries as _entries  # noqa: F401  Fills the registry.
from pacd_jax.experiment import kinds, schema

# The baselines of every comparison; other rows within the budget are left out by "".
BASELINES = (
  *("watermark", "classwise", "random", "brightness", "convolution"),
  *("error_minimizing", "targeted_adversarial"),
)
# Fields of a run that a comparison sets: they are not its base's.
_OWN = ("rows", "poisons", "data.data_dir", "attack.epsilon")


def get_config(
  base: ml_collections.ConfigDict,
  variant: str,
  *,
  epsilons: tuple[float, ...],
  variants: Mapping[str, Mapping[str, Any]],
  baselines: tuple[str, ...] = BASELINES,
) -> ml_collections.ConfigDict:
  """A comparison of attacks on the victims of one config.

  Args:
    base: of every run, with its variant applied.
    variant: of the base, as the user gave it.
    epsilons: budgets of all attacks, in increasing order; the last alone for smoke.
    variants: PACD by name, each with the fields that differ from the base, such as
      `{"attack.curvature": "hessian"}`.
    baselines: names of rows. The others that the package has are left out by an empty
      row: `--config.attacks.lsp.row=lsp` takes one in.

  Raises:
    ValueError: the variant sets a field that the comparison itself sets.
  """
  items = variant.split(",")
  for item in items:
    if item.partition("=")[0] in _OWN:
      name = {"attack.epsilon": "epsilons"}.get(item.partition("=")[0], "data.data_dir")
      raise ValueError(f"{item} is for all runs of a comparison: use --config.{name}=...")
  if "smoke" in items:  # One budget, and networks and attacks that compile in a moment.
    epsilons = epsilons[-1:]
    base.attack.num_shared_steps = base.attack.num_steps  # One program, not two.
    if not any(item.startswith("model.") for item in items):
      base.model.name, base.model.norm = "linear", ""
  for name in _OWN:
    group, _, field = name.rpartition(".")
    del (base[group] if group else base)[field]
  config = ml_collections.ConfigDict({"base": base, "epsilons": epsilons})
  config.attacks = {
    row.name: {"row": row.name if row.name in baselines else ""}
    for row in kinds.ROWS
    if row.is_bounded and not row.is_targeted
  }
  for name in (types.CLEAN, types.PACD):
    del config.attacks[name]
  for name, overrides in variants.items():
    config.attacks[name] = {"row": "pacd", "overrides": schema.nested(overrides)}
  config.data = {"data_dir": ""}  # Of every run.
  return config
