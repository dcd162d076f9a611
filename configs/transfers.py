"""Code shared by all transfers: victims, and poisons from the folders of finished runs.

Not an experiment by itself.
"""

from collections.abc import Callable

import ml_collections

from pacd_jax.experiment import identity
from pacd_jax.paper import transfers

GetConfig = Callable[[str], ml_collections.ConfigDict]


def get_config(
  victims: dict[str, GetConfig], poisons: dict[str, tuple[str, str]], variant: str
) -> ml_collections.ConfigDict:
  """A transfer between runs of one variant.

  Args:
    victims: how each kind of victim is trained and certified, by its name.
    poisons: the run that made each poison: its config's name, and what its variant has
      in addition to the transfer's.
    variant: of every victim and of every run that made a poison.
  """
  config = ml_collections.ConfigDict()
  config.victims = {name: of_victim(variant) for name, of_victim in victims.items()}
  for victim in config.victims.values():  # These are the transfer's own.
    del victim.rows, victim.poisons, victim.data.data_dir
  config.poisons = {
    name: f"runs/{identity.default_name(run, f'{variant},{more}')}"
    for name, (run, more) in poisons.items()
  }
  config.poisons.yours = ""
  config.data = {"data_dir": ""}  # Of every victim.
  return config


def paper(
  variant: str, data: str, victims: dict[str, GetConfig]
) -> ml_collections.ConfigDict:
  """Figure 4 of Mehra et al. (2021); with "table1" in the variant, their Table 1.

  Args:
    variant: of every victim and run, and "table1".
    data: the data set, with which the names of runs begin, such as "mnist".
    victims: get_config of each kind, by the names of `pacd_jax.paper.transfers.CONFIGS`.
  """
  items = variant.split(",")
  is_table1 = "table1" in items
  if is_table1:
    items.remove("table1")
  wanted = transfers.TABLE1 if is_table1 else transfers.FIGURE4
  poisons = {
    name: (f"{data}_{transfers.CONFIGS[name]}", transfers.variant(data, name))
    for name in wanted.poisons
  }
  if not is_table1:
    other_model = transfers.other_model(data, variant)
    run, more = poisons["gaussian"]
    poisons[other_model] = (run, f"{more},model.name={other_model}")
  chosen = {name: victims[name] for name in wanted.victims}
  return get_config(chosen, poisons, ",".join(items))
