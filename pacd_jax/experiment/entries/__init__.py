"""The package's own entries of every kind; importing this registers them."""

from pacd_jax.experiment.entries import (
  aggregations,
  availability,
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
  transforms,
)

__all__ = [
  "aggregations",
  "availability",
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
  "transforms",
]
