"""What every transfer shares: victims, and poisons from the folders of finished runs.

Not an experiment by itself.
"""

from collections.abc import Callable

import ml_collections

from pacd_jax.runtime import run_folder

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
  for victim in config.victims.values():  # These are the transfer's own.
    del victim.rows, victim.poisons, victim.data.data_dir
  config.poisons = {
    name: f"runs/{run_folder.default_name(run, f'{variant},{more}')}"
    for name, (run, more) in poisons.items()
  }
  config.poisons.yours = ""
  config.data = {"data_dir": ""}  # Of every victim.
  return config


def paper(
  variant: str,
  data: str,
  victims: dict[str, GetConfig],
  *,
  other_model: str,
  more: str = "",
) -> ml_collections.ConfigDict:
  """Figure 4 of Mehra et al. (2021); with "table1" in the variant, their Table 1.

  Args:
    variant: of every victim and run, and "table1".
    data: what names of runs begin with, such as "mnist".
    victims: gaussian, macer, smoothadv and, for Table 1, standard.
    other_model: whose surrogate a further poison was made with, in Figure 4.
    more: what the variant of the Gaussian run has more.
  """
  items = variant.split(",")
  if "table1" in items:
    items.remove("table1")
    poisons = {"standard": (f"{data}_standard", "")}
  else:
    victims = {name: victims[name] for name in ("gaussian", "macer", "smoothadv")}
    poisons = {
      "gaussian": (f"{data}_ga", more),
      "macer": (f"{data}_macer", ""),
      "smoothadv": (f"{data}_smoothadv", ""),
      other_model: (f"{data}_ga", f"{more},model.name={other_model}"),
    }
  return get_config(victims, poisons, ",".join(items))
