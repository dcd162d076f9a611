"""Tests have ConfigDicts, as users do: through the door, and run or built."""

import ml_collections

from pacd_jax.experiment import door, plan, stages
from pacd_jax.suites import run as suites_run


def run(
  config: ml_collections.ConfigDict, workdir, stage_names=stages.NAMES, **options
) -> str | None:
  """As main.py runs it."""
  return suites_run.run(door.parse(config), workdir, stage_names, **options)


def build(config: ml_collections.ConfigDict, workdir, *args) -> plan.Plan:
  """`door.build` of one run."""
  return door.build(door.parse(config), workdir, *args)
