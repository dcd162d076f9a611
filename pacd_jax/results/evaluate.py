"""The numbers of a run, from its certificate files alone: ACR, ACA, p_A.

ACR is the average certified radius and ACA the approximate certified accuracy of Mehra
et al. (2021), https://arxiv.org/abs/2012.01274, section 4. Since ACR alone saturates
(Sun et al., 2024, https://arxiv.org/abs/2410.06895), p_A is given too.

In the shape descriptions `N` is the number of test points and `R` of radii.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pacd_jax import errors, types
from pacd_jax.certification import certificates, provenance

Row = dict[str, Any]
Results = dict[str, Any]

# Of a sidecar, which lacks those that its procedure has not.
_SETTINGS = ("mode", "sigma", "n0", "n", "alpha", "bound", "dtype")
_SETTINGS += ("procedure", "norm", "epsilon", "most", "num_halvings", "box", "slopes")
_SETTINGS += ("sound", "slack")
_LEAST_SHOWN = 5e-4  # An ACR below it is 0.000 in tables.
_REMEDY = "delete one of them and rerun --stage=certify"


def read_records(folder: str | os.PathLike) -> list[certificates.Record]:
  """Reads all victims of `certificates/<name>`, by rising seed; raises as `read` does."""
  sidecars = pathlib.Path(folder).glob("seed_*.json")
  records = [certificates.read(path.with_suffix("")) for path in sidecars]
  return sorted(records, key=lambda record: record.sidecar["seed"])


def average_certified_radius(record: certificates.Record) -> float:
  """ACR = (1/N) sum_i R(x_i) [g(x_i) = y_i], over all points, in image units.

  R is the certified l2 radius and g the smoothed classifier, or what else the procedure
  certifies; misclassified points and abstentions count as 0. Section 4 of
  https://arxiv.org/abs/2012.01274.
  """
  return float(correct_radius(record).mean())


def approximate_certified_accuracy(record: certificates.Record) -> float:
  """ACA = (1/N) sum_i [g(x_i) = y_i and R(x_i) > 0], in [0, 1]."""
  return float((correct_radius(record) > 0.0).mean())


def certified_accuracy(record: certificates.Record, radii: np.ndarray) -> np.ndarray:
  """CA(r) = (1/N) sum_i [g(x_i) = y_i and R(x_i) >= r]; its integral over r is the ACR.

  It is the curve of Cohen et al. (2019), https://arxiv.org/abs/1902.02918. `radii` `[R]`
  are l2 radii in image units; the result is `[R]` in [0, 1].
  """
  reaches = record.radius[:, None] >= np.asarray(radii)[None, :]
  return (reaches & (record.predict == record.label)[:, None]).mean(axis=0)


def top_probability(record: certificates.Record) -> np.ndarray:
  """Empirical p_A: the share of a point's votes that are for its true class.

    p_A(x_i) = (1/n_i) sum_j [f(x_i + eta_j) = y_i],  eta_j ~ N(0, sigma^2 I)

  f is the base classifier and n_i the number of votes behind point i's bound. This is an
  estimate, not a confidence bound; a radius above 0 needs a lower bound of p_A above 1/2.
  Unlike the radius, it shows by how much a point misses that. In mode aca, which stops
  sampling when the votes are clear, it is biased away from 1/2.

  Returns:
    `[N]` in [0, 1]; NaN for a point without votes.
  """
  votes = np.take_along_axis(record.counts, record.label[:, None], axis=1)[:, 0]
  total = record.counts.sum(axis=1)
  return np.where(total > 0, votes / np.maximum(total, 1), np.nan)


def summarize(name: str, records: Sequence[certificates.Record]) -> Row:
  """One row of `results.json`: the victims of one training set, one record per seed.

  Args:
    name: name of the training set: clean, watermark, classwise, pacd, ...
    records: the victims' certificates, on the same points with the same settings.

  Returns:
    A dict that JSON can hold. `acr`, `aca`, `accuracy` and `class_accuracy` list the seeds'
    values in the given order; `*_mean` and `*_std` are over seeds, the latter with one
    degree of freedom removed, 0.0 for a single seed. Radii are in image units, rates in
    [0, 1]; `accuracy` is over all classes and `class_accuracy` over the target class, of
    the base classifier without noise (the latter None if a sidecar lacks it);
    `samples_mean` is the mean number of noisy copies per point. If radii are not
    meaningful, as in mode aca, `acr`, `acr_mean` and `acr_std` are None. A deterministic
    procedure has the mode, n0, n, alpha and bound None.

  Raises:
    InputError: there are no records or points, a seed occurs twice, a sidecar lacks the
      victim's accuracy, or points or settings differ between the seeds.
  """
  if not records:
    raise errors.InputError(f"{name}: no certificates: rerun --stage=certify")
  if not len(records[0].idx):
    raise errors.InputError(f"{name}: the certificates hold no test points")
  seeds = [record.sidecar["seed"] for record in records]
  if len(set(seeds)) < len(seeds):
    raise errors.InputError(f"{name}: a seed is there twice: {seeds}")
  if not all("accuracy" in record.sidecar for record in records):
    raise errors.InputError(f"{name}: a seed_<k>.json lacks the victim's accuracy")
  for record in records[1:]:
    check_comparable((name, record), (name, records[0]))
  sidecar = records[0].sidecar
  acr = [average_certified_radius(record) for record in records]
  aca = [approximate_certified_accuracy(record) for record in records]
  accuracy = [float(record.sidecar["accuracy"]) for record in records]
  per_class = [record.sidecar.get("class_accuracy") for record in records]
  class_accuracy = [value for value in per_class if value is not None]
  has_class = len(class_accuracy) == len(records)
  samples = [provenance.num_samples(record.sidecar, record.counts) for record in records]
  has_acr = provenance.has_radius(sidecar)
  return {
    "data": name,
    "acr_mean": float(np.mean(acr)) if has_acr else None,
    "acr_std": std(acr) if has_acr else None,
    "aca_mean": float(np.mean(aca)),
    "aca_std": std(aca),
    "accuracy_mean": float(np.mean(accuracy)),
    "class_accuracy_mean": float(np.mean(class_accuracy)) if has_class else None,
    "class_accuracy_std": std(class_accuracy) if has_class else None,
    "num_seeds": len(records),
    "num_points": len(records[0].idx),
    "split": sidecar.get("split", "test"),
    "mode": sidecar.get("mode"),
    "dtype": sidecar["dtype"],
    "n0": sidecar.get("n0"),
    "n": sidecar.get("n"),
    "samples_mean": float(np.mean(samples)),
    "alpha": sidecar.get("alpha"),
    "bound": sidecar.get("bound"),
    "acr": acr if has_acr else None,
    "aca": aca,
    "accuracy": accuracy,
    "class_accuracy": class_accuracy if has_class else None,
  }


class About(NamedTuple):
  """The fields of a row of results beside its numbers."""

  epsilon: float | None = None  # Budget of its poison, in image units; None: no poison.
  norm: str | None = None  # Norm of the budget.
  attack_seconds: float | None = None  # Wall time of the attack; None: unknown.
  words: str = ""  # Origin of its images.
  is_given: bool = False  # Whether the poison was given, not made by the run.
  # Its line in pictures: a colour, and dashes as in matplotlib; None: an unused style.
  style: tuple[str, Any] | None = None


def results(
  records: Mapping[str, Sequence[certificates.Record]],
  *,
  dataset: str,
  description: str | None = None,
  target_class: int,
  epsilon: float,
  norm: str,
  rows: Mapping[str, About] | None = None,
  model: str,
  training: str,
  remarks: Sequence[str] = (),
) -> Results:
  """The contents of `results.json`: a description of the run, and one row per training set.

  Args:
    records: the certificates of every row, in the order of the table.
    dataset: name of the data set, as in configs.
    description: name of the data set for readers, such as "CIFAR-10 (JPEG-75)"; by default
      `dataset`.
    target_class: the class whose training images are poisoned and whose test points
      are certified.
    epsilon: budget of one image's perturbation, in image units.
    norm: norm of the budget, "linf" or "l2".
    rows: the rows' fields beside their numbers, by name.
    model: the victims' network, for instance "resnet20 (affine)".
    training: the victims' training method, for instance "gaussian".
    remarks: further facts that readers of the numbers need to know.

  Returns:
    A dict that JSON can hold; `sigma`, in image units, is that of the certificates, 0 if
    they are deterministic.

  Raises:
    InputError: as in `summarize`, or the rows differ in points, settings or the number of
      victims.
  """
  if not records:
    raise errors.InputError("no certificates to report on: rerun --stage=certify")
  about = rows or {}
  found = [
    summarize(name, of_row) | about.get(name, About())._asdict()
    for name, of_row in records.items()
  ]
  firsts = [(name, of_row[0]) for name, of_row in records.items()]
  for other in firsts[1:]:
    check_comparable(other, firsts[0])
  if len({row["num_seeds"] for row in found}) > 1:
    numbers = ", ".join(f"{row['data']} {row['num_seeds']}" for row in found)
    raise errors.InputError(f"rows have different numbers of victims: {numbers}")
  return {
    "dataset": dataset,
    "description": description or dataset,
    "target_class": target_class,
    "sigma": firsts[0][1].sidecar.get("sigma", 0.0),
    "epsilon": epsilon,
    "norm": norm,
    "model": model,
    "training": training,
    **({"remarks": list(remarks)} if remarks else {}),
    "rows": found,
  }


def samples_mean(results: Results) -> float:
  """The mean number of noisy copies per point, over all rows."""
  return float(np.mean([row["samples_mean"] for row in results["rows"]]))


def percent_of_clean(results: Results) -> list[float | None]:
  """`percent` of the row `clean` for each row; None without such a row."""
  clean = [row["acr_mean"] for row in results["rows"] if row["data"] == types.CLEAN]
  return [percent(row["acr_mean"], clean[0] if clean else None) for row in results["rows"]]


def percent(acr: float | None, clean: float | None) -> float | None:
  """100 ACR / (ACR of clean data); None if one is None, or the latter is 0.000 as shown.

  A share of nothing would be any number, as where clean victims certify nothing either.
  """
  if acr is None or clean is None or clean < _LEAST_SHOWN:
    return None
  return 100.0 * acr / clean


def std(values: Sequence[float] | np.ndarray) -> float:
  """Standard deviation over victims, with one degree of freedom removed; 0.0 for one."""
  return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def correct_radius(record: certificates.Record) -> np.ndarray:
  """R(x_i) [g(x_i) = y_i], `[N]`: 0 for misclassified points and abstentions."""
  return np.where(record.predict == record.label, record.radius, 0.0)


def check_comparable(
  record: tuple[str, certificates.Record], reference: tuple[str, certificates.Record]
) -> None:
  """Raises an error unless two records have the same test points and settings.

  Args:
    record: the name of a training set, and a record of its victims.
    reference: likewise.

  Raises:
    InputError: points or settings differ; the message names both records and what differs.
  """
  (name, a), (other, b) = record, reference
  who = f"certificates {name}/seed_{a.sidecar['seed']} and "
  who += f"{other}/seed_{b.sidecar['seed']}"
  for field in _SETTINGS:
    if a.sidecar.get(field) != b.sidecar.get(field):
      values = f"{a.sidecar.get(field)} and {b.sidecar.get(field)}"
      raise errors.InputError(f"{who} differ in {field}: {values}: {_REMEDY}")
  if not (np.array_equal(a.idx, b.idx) and np.array_equal(a.label, b.label)):
    raise errors.InputError(f"{who} are of different test points: {_REMEDY}")
