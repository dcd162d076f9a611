"""The package's own entries of every kind, in their registries once this is imported."""

from pacd_jax.experiment.entries import (
  data_sets,
  defences,
  hypergradients,
  losses,
  networks,
  rows,
  steps,
)

__all__ = [
  "data_sets",
  "defences",
  "hypergradients",
  "losses",
  "networks",
  "rows",
  "steps",
]
