"""The package's own entries of every kind; importing this registers them."""

from pacd_jax.experiment.entries import (
  aggregations,
  availability,
  changes,
  data_sets,
  defences,
  evasions,
  filters,
  hypergradients,
  losses,
  memorisation,
  networks,
  presets,
  rows,
  steps,
  transforms,
)

__all__ = [
  "aggregations",
  "availability",
  "changes",
  "data_sets",
  "defences",
  "evasions",
  "filters",
  "hypergradients",
  "losses",
  "memorisation",
  "networks",
  "presets",
  "rows",
  "steps",
  "transforms",
]
