"""Figure 4 and Table 1 of the paper, defined once: poisons of which runs on which victims.

Mehra et al. (2021), https://arxiv.org/abs/2012.01274, sections 4.5 and D.1. The transfer
configs (`configs/*_transfer.py`) and the tables of `catalog.py` are made of this.
"""

from typing import NamedTuple

# Way of training -> the config of a run that attacks it, and whose victims train so.
CONFIGS = {
  "standard": "standard",
  "gaussian": "ga",
  "macer": "macer",
  "smoothadv": "smoothadv",
}


class Transfer(NamedTuple):
  """Names of `CONFIGS`."""

  victims: tuple[str, ...]
  poisons: tuple[str, ...]  # Made against this training.


FIGURE4 = Transfer(("gaussian", "macer", "smoothadv"), ("gaussian", "macer", "smoothadv"))
TABLE1 = Transfer(("standard", "gaussian", "macer", "smoothadv"), ("standard",))


def other_model(dataset: str, variant: str) -> str:
  """Whose surrogates a further poison of Figure 4 was made with."""
  if dataset == "cifar10":
    return "wide_cnn" if "fast" in variant.split(",") else "resnet32"
  return {"digits": "mlp", "mnist": "wide_cnn"}[dataset]


def variant(dataset: str, training: str) -> str:
  """What stands behind the colon of a run that makes a poison.

  On digits all have the larger budget, as the configs of MACER and SmoothAdv do.
  """
  return "eps02" if (dataset, training) == ("digits", "gaussian") else ""
