"""The numbers of ensembles: certificates against poisoning, and those under both.

From the files of a row alone: `certificates/<row>/against_poison/` and
`certificates/<row>/poisoned_<m>/`.
"""

import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pacd_jax.certification import poisoning
from pacd_jax.results import evaluate

FIELD = "ensemble"  # Of a row of results: what `summarize` returns.


def median_radius(radii: np.ndarray) -> float:
  """The largest radius to which at least half of all points are certified; -1: none.

  The median certified robustness of Levine and Feizi (2021),
  https://arxiv.org/abs/2006.14768.

  Args:
    radii: `[N]`, of `poisoning.Record.radius_of_truth`: -1 where the prediction is wrong.
  """
  falling = -np.sort(-np.asarray(radii))
  return float(falling[math.ceil(len(falling) / 2) - 1])


def certified_share(radii: np.ndarray, sizes: np.ndarray) -> np.ndarray:
  """The shares of all points that are right, and stay so, `[R]` in [0, 1].

  Args:
    radii: `[N]`, of `poisoning.Record.radius_of_truth`.
    sizes: `[R]`, changes of the training set, each at least 0.
  """
  return (np.asarray(radii)[:, None] >= np.asarray(sizes)).mean(axis=0)


def read(folder: str | os.PathLike) -> list[poisoning.Record]:
  """The certificates of a row's victims against poisoning; empty if it has none."""
  return poisoning.read_all(pathlib.Path(folder) / "against_poison")


def summarize(folder: str | os.PathLike) -> dict[str, Any] | None:
  """What results say of a row's ensembles, from `certificates/<row>`; None: of none.

  Returns:
    A dict that JSON can hold: `aggregation`, `num_models` and `unit`; `median` and
    `accuracy` of each victim against poisoning, over all classes; and `levels`, the ACR and
    ACA of the target class at test time for each number of poisoned images, 0 left out.

  Raises:
    errors.InputError: a file is damaged.
  """
  folder = pathlib.Path(folder)
  records = read(folder)
  if not records:
    return None
  sidecar = records[0].sidecar
  levels = []
  for number in sorted(int(path.name.split("_")[1]) for path in folder.glob("poisoned_*")):
    of_level = evaluate.read_records(folder / f"poisoned_{number}")
    acr = [evaluate.average_certified_radius(record) for record in of_level]
    aca = [evaluate.approximate_certified_accuracy(record) for record in of_level]
    levels.append(
      {
        "poisoned_images": number,
        "acr": acr,
        "acr_mean": float(np.mean(acr)),
        "acr_std": evaluate.std(acr),
        "aca_mean": float(np.mean(aca)),
        "aca_std": evaluate.std(aca),
      }
    )
  median = [median_radius(record.radius_of_truth) for record in records]
  return {
    "aggregation": sidecar["aggregation"],
    "num_models": sidecar["num_models"],
    "unit": sidecar["unit"],
    "median": median,
    "median_mean": float(np.mean(median)),
    "accuracy": [record.sidecar["accuracy"] for record in records],
    "levels": levels,
  }


def cells(results: evaluate.Results) -> list[tuple[str, ...]]:
  """A table of ensembles, headings first: the median radius, and the ACR at every level.

  It is empty if victims are single networks.
  """
  rows = results["rows"]
  if (first := rows[0].get(FIELD)) is None:
    return []
  levels = (f"ACR, m = {each['poisoned_images']}" for each in first["levels"])
  lines: list[tuple[str, ...]] = [("data", "median radius", *levels)]
  for row in rows:
    acrs = [f"{each['acr_mean']:.3f}" for each in row[FIELD]["levels"]]
    if row["num_seeds"] > 1:
      stds = (each["acr_std"] for each in row[FIELD]["levels"])
      acrs = [f"{acr} ± {std:.3f}" for acr, std in zip(acrs, stds, strict=True)]
    median = row[FIELD]["median_mean"]
    lines.append((row["data"], f"{median:.4g}" if median >= 0.0 else "none", *acrs))
  return lines


def caption(results: evaluate.Results) -> list[str]:
  """What the columns are, for the end of a caption; empty if there are none."""
  of_row = results["rows"][0].get(FIELD)
  if of_row is None:
    return []
  lines = [
    f"{of_row['aggregation']} of {of_row['num_models']} networks: half of all test points "
    f"are certified against the median radius, in {of_row['unit']};"
  ]
  if of_row["levels"]:
    lines.append(f"ACR, m: certified at test time, whichever m {of_row['unit']} there are;")
  return lines


def curves(
  folders: dict[str, pathlib.Path], num_sizes: int = 256
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
  """Certified accuracy against poisoning: sizes `[R]`, and shares `[S, R]` by row."""
  return shares({row: read(folder) for row, folder in folders.items()}, num_sizes)


def shares(
  records: Mapping[str, Sequence[poisoning.Record]], num_sizes: int = 256
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
  """The same of certificates that have been read."""
  largest = max(
    float(record.radius.max()) for of_row in records.values() for record in of_row
  )
  sizes = np.linspace(0.0, 1.02 * max(largest, 1e-3), num_sizes)
  return sizes, {
    row: np.stack([certified_share(record.radius_of_truth, sizes) for record in of_row])
    for row, of_row in records.items()
  }


def acr_by_level(
  rows: Sequence[evaluate.Row],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
  """ACR against the number of poisoned images: numbers `[J]`, and ACRs `[S, J]` by row."""
  levels = rows[0][FIELD]["levels"]
  numbers = np.array([0, *(each["poisoned_images"] for each in levels)])
  return numbers, {
    row["data"]: np.array([row["acr"], *(each["acr"] for each in row[FIELD]["levels"])]).T
    for row in rows
  }
