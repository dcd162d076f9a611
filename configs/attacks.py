"""Code shared by all tables of attacks: the base, and the attacks.

Not an experiment by itself.
"""

from collections.abc import Mapping
from typing import Any

import ml_collections

from pacd_jax import types
from pacd_jax.experiment import entries as _entries  # noqa: F401  Fills the registry.
from pacd_jax.experiment import kinds, schema

ROWS = tuple(row.name for row in kinds.ROWS if row.is_attack and row.name != types.CLEAN)
OF_SMOKE = ("brightness", "badnets", "pacd")  # One of each kind.
# Fields of a run that a table sets: they are not its base's.
_OWN = ("rows", "poisons", "data.data_dir")


def get_config(
  base: ml_collections.ConfigDict,
  variant: str,
  *,
  target: int,
  more: Mapping[str, tuple[str, Mapping[str, Any]]] | None = None,
) -> ml_collections.ConfigDict:
  """A table of all attacks on the victims of one config.

  Args:
    base: of every run, with its variant applied.
    variant: of the base, as the user gave it; "smoke" has few attacks, and a network that
      compiles in a moment.
    target: the image that attacks on one image are about: its position in the test split.
      They are there twice, also against victims with frozen features.
    more: by name, further lines: a row, and the fields that differ from the base, such as
      `{"pacd_per_image": ("pacd", {"attack.num_shared_steps": 0})}`.
  """
  items = variant.split(",")
  attacks: dict[str, tuple[str, Mapping[str, Any]]] = {row: (row, {}) for row in ROWS}
  if base.data.name != "digits":
    _shrink(base, is_fast="fast" in items)
  for row in ROWS:
    if kinds.ROWS[row].is_targeted:
      base[row].target = target
      attacks[f"{row}_frozen"] = row, {"train.frozen_features": "train"}
  attacks |= more or {}
  if "smoke" in items:
    attacks = {name: attacks[name] for name in OF_SMOKE}
    base.attack.num_shared_steps = base.attack.num_steps  # One program, not two.
    if not any(item.startswith("model.") for item in items):
      base.model.name, base.model.norm = "linear", ""
  for name in _OWN:
    group, _, field = name.rpartition(".")
    del (base[group] if group else base)[field]
  config = ml_collections.ConfigDict({"base": base})
  config.attacks = {}
  for name, (row, overrides) in attacks.items():
    config.attacks[name] = {"row": row}
    if overrides:
      config.attacks[name].overrides = schema.nested(overrides)
  config.data = {"data_dir": ""}  # Of every run.
  return config


def _shrink(base: ml_collections.ConfigDict, *, is_fast: bool) -> None:
  """Attacks on one image change some of the class; for two cores all take fewer steps."""
  targeted = [row for row in ROWS if kinds.ROWS[row].is_targeted]
  for row in targeted:
    base[row].num_images = 200 if is_fast else 500
  if not is_fast:
    return
  for row in targeted:
    base[row].surrogate_steps = 250
  for row in ("targeted_adversarial", "hypocritical", "label_consistent"):
    base[row].warmup_steps = 250
  for row in ("error_minimizing", "robust_error_minimizing", "deferred"):
    base[row].num_rounds = 50
  base.feature_collision.num_steps = base.bullseye_polytope.num_steps = 100
  base.gradient_matching.num_steps, base.gradient_matching.num_restarts = 150, 1
