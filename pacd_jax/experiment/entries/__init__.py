"""The package's own entries of every kind; importing this registers them."""

from pacd_jax.experiment.entries import (
  data_sets,
  defences,
  hypergradients,
  losses,
  networks,
  presets,
  rows,
  steps,
  transforms,
)

__all__ = [
  "data_sets",
  "defences",
  "hypergradients",
  "losses",
  "networks",
  "presets",
  "rows",
  "steps",
  "transforms",
]
