"""The numbers of the paper's tables: Mehra et al. (2021), https://arxiv.org/abs/2012.01274.

`published.tsv` has means and standard deviations over the paper's victims, in its own
units. Figures 3 and 4 print no numbers.
"""

import csv
import functools
import pathlib
from typing import NamedTuple

_PATH = pathlib.Path(__file__).with_name("published.tsv")
_PERCENT = "_percent"


class Value(NamedTuple):
  """A mean and its standard deviation over victims; rates in [0, 1]."""

  mean: float
  std: float


@functools.cache
def _values() -> dict[tuple[str, ...], Value]:
  values: dict[tuple[str, ...], Value] = {}
  with open(_PATH, encoding="utf-8", newline="") as file:
    for line in csv.DictReader(file, delimiter="\t"):
      scale = 100.0 if line["quantity"].endswith(_PERCENT) else 1.0
      quantity = line["quantity"].removesuffix(_PERCENT)
      key = (line["table"], line["dataset"], line["setting"], line["row"], quantity)
      values[key] = Value(float(line["mean"]) / scale, float(line["std"]) / scale)
  return values


def value(
  table: str, dataset: str, setting: str | float, row: str, quantity: str
) -> Value | None:
  """The paper's entry; None where it has none.

  Args:
    table: "table1" to "table5".
    dataset: as configs name it.
    setting: sigma in image units; for Table 1, how the victims were trained.
    row: training set: clean, watermark, pacd; for Table 1, clean or standard.
    quantity: "acr" or "distortion" (l2, image units), "aca" or "class_accuracy".
  """
  setting = setting if isinstance(setting, str) else f"{setting:g}"
  return _values().get((table, dataset, setting, row, quantity))
