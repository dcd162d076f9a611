"""What every transfer shares: victims, and poisons from the folders of finished runs.

Not an experiment by itself.
"""

import re
from collections.abc import Callable

import ml_collections

GetConfig = Callable[[str], ml_collections.ConfigDict]


def get_config(
  victims: dict[str, GetConfig], poisons: dict[str, tuple[str, str]], variant: str
) -> ml_collections.ConfigDict:
  """A transfer between runs of one variant.

  Args:
    victims: how each kind of victim is trained and certified, by its name.
    poisons: the run that made each poison: its config's name, and what its variant has
      more than the transfer's.
    variant: of every victim and of every run that a poison is from.
  """
  config = ml_collections.ConfigDict()
  config.victims = {name: of_victim(variant) for name, of_victim in victims.items()}
  config.poisons = {
    name: f"runs/{_run_name(run, variant, more)}" for name, (run, more) in poisons.items()
  }
  config.poisons.yours = ""
  config.data = {"data_dir": ""}  # Of every victim.
  return config


def _run_name(run: str, variant: str, more: str) -> str:
  """The default folder of that run, as main.py names it."""
  variant = ",".join(filter(None, (variant, more)))
  return run + ("_" + re.sub(r"[^\w.=-]+", "_", variant) if variant else "")
