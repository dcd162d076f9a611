"""A transfer between two kinds of victims, for `kills.py`."""

from configs import digits_ga, digits_standard, transfers


def get_config(variant: str = ""):
  """`variant`: of every victim, such as "smoke"."""
  victims = {"gaussian": digits_ga.get_config, "standard": digits_standard.get_config}
  return transfers.get_config(victims, {"ours": ("digits_ga", "")}, variant)
