"""Figure 4 and Table 1 of the paper, defined once: which poisons go to which victims.

Mehra et al. (2021), https://arxiv.org/abs/2012.01274, sections 4.5 and D.1. The transfer
configs (`configs/*_transfer.py`) and the tables of `catalog.py` are made from this.
"""

from typing import NamedTuple

# Training method -> the config of a run that attacks it, and whose victims use it.
CONFIGS = {
  "standard": "standard",
  "gaussian": "ga",
  "macer": "macer",
  "smoothadv": "smoothadv",
}


class Transfer(NamedTuple):
  """Victims and poisons, by the names of `CONFIGS`."""

  victims: tuple[str, ...]
  poisons: tuple[str, ...]  # Made against these methods.


FIGURE4 = Transfer(("gaussian", "macer", "smoothadv"), ("gaussian", "macer", "smoothadv"))
TABLE1 = Transfer(("standard", "gaussian", "macer", "smoothadv"), ("standard",))


def other_model(dataset: str, variant: str) -> str:
  """The network of the surrogates of a further poison of Figure 4."""
  if dataset == "cifar10":
    return "wide_cnn" if "fast" in variant.split(",") else "resnet32"
  return {"digits": "mlp", "mnist": "wide_cnn"}[dataset]


def variant(dataset: str, training: str) -> str:
  """The variant of a config that makes a poison.

  On digits, all poisons have the larger budget, as in the configs of MACER and SmoothAdv.
  """
  return "eps02" if (dataset, training) == ("digits", "gaussian") else ""
