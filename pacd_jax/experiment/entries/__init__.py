"""The package's own entries of every kind; importing this registers them."""

from pacd_jax.experiment.entries import (
  aggregations,
  changes,
  data_sets,
  defences,
  filters,
  hypergradients,
  losses,
  networks,
  presets,
  rows,
  steps,
  targeted,
  transforms,
)

__all__ = [
  "aggregations",
  "changes",
  "data_sets",
  "defences",
  "filters",
  "hypergradients",
  "losses",
  "networks",
  "presets",
  "rows",
  "steps",
  "targeted",
  "transforms",
]
