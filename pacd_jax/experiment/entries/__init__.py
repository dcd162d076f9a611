"""The package's own entries of every kind; importing this registers them."""

from pacd_jax.experiment.entries import (
  aggregations,
  backdoors,
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
  triggers,
)

__all__ = [
  "aggregations",
  "backdoors",
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
  "triggers",
]
