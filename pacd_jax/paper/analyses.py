"""Analyses of a finished run beyond its certificates: done and read by their names."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from pacd_jax import types
from pacd_jax.paper import empirical, other_classes
from pacd_jax.results import detectability, evaluate, paired


class Measured(NamedTuple):
  """A mean over `number` victims or images; None: not known."""

  mean: float
  std: float | None = None
  number: int = 1
  low: float | None = None  # Ends of an interval of 95 %.
  high: float | None = None


# Training set -> quantity -> its mean.
_Found = dict[str, dict[str, Measured]]


class _Analysis(NamedTuple):
  # `do(a run's folder, its rows, where the data are)`.
  do: Callable[[pathlib.Path, Sequence[str], str], None]
  read: Callable[[pathlib.Path, Sequence[str]], _Found]  # Empty where it is not done.


def _nothing(folder: pathlib.Path, rows: Sequence[str], data_dir: str) -> None:
  """Does nothing: the analysis is computed when it is read."""


def mean(values: np.ndarray) -> Measured:
  """The mean and the standard deviation; None for that of one value."""
  std = evaluate.std(values) if len(values) > 1 else None
  return Measured(float(values.mean()), std, len(values))


def _over_victims(quantity: str, values: dict[str, list[float]]) -> _Found:
  """Means over every victim's value, by training set; empty if a set has no values."""
  if not all(values.values()):
    return {}
  return {row: {quantity: mean(np.array(each))} for row, each in values.items()}


def _read_others(folder: pathlib.Path, rows: Sequence[str]) -> _Found:
  radii = {row: other_classes.average_certified_radii(folder, row) for row in rows}
  return _over_victims("acr_others", radii)


def _distortion(attack: str) -> _Analysis:
  """Table 5 by one attack."""

  def read(folder: pathlib.Path, rows: Sequence[str]) -> _Found:
    distances = {row: empirical.mean_distances(folder, row, attack) for row in rows}
    return _over_victims("distortion", distances)

  return _Analysis(functools.partial(empirical.measure, attack=attack), read)


def _read_detectability(folder: pathlib.Path, rows: Sequence[str]) -> _Found:
  """Means and standard deviations over the poisoned images."""
  found = {}
  for row in rows:
    path = folder / "poison" / f"{row}.npz"
    if path.exists():  # Clean data have none.
      distances = detectability.of_file(path)
      found[row] = {
        name: mean(values)
        for name, values in distances._asdict().items()
        if np.isfinite(values).all()
      }
  return found


def _read_paired(folder: pathlib.Path, rows: Sequence[str]) -> _Found:
  records = {row: evaluate.read_records(folder / "certificates" / row) for row in rows}
  found = {}
  for row in rows:
    if row != _REFERENCE:
      d = paired.difference(records[row], records[_REFERENCE])
      measured = Measured(d.mean, None, d.num_victims, d.low, d.high)
      found[row] = {"radius_difference": measured}
  return found


def _read_against_best(folder: pathlib.Path, rows: Sequence[str]) -> _Found:
  """PACD's ACR over that of the baseline that leaves the least."""
  records = {row: evaluate.read_records(folder / "certificates" / row) for row in rows}
  baselines = [row for row in rows if row not in (_REFERENCE, types.PACD)]
  acr = {row: evaluate.summarize(row, records[row])["acr_mean"] for row in baselines}
  best = min(baselines, key=acr.__getitem__)
  if not acr[best]:
    return {}  # Nothing is left to compare.
  r = paired.ratio(records[types.PACD], records[best])
  measured = Measured(r.mean, None, r.num_victims, r.low, r.high)
  return {types.PACD: {"of_best": measured}}


_REFERENCE = "clean"
_ANALYSES = {
  "other_classes": _Analysis(other_classes.certify_others, _read_others),
  "detectability": _Analysis(_nothing, _read_detectability),
  "paired": _Analysis(_nothing, _read_paired),
  "against_best": _Analysis(_nothing, _read_against_best),
}


def _named(name: str) -> _Analysis:
  by_attack = {empirical.analysis(attack): attack for attack in empirical.attacks()}
  return _distortion(by_attack[name]) if name in by_attack else _ANALYSES[name]


def do(name: str, folder: pathlib.Path, rows: Sequence[str], data_dir: str = "") -> None:
  """Does, or resumes, an analysis of a finished run.

  Raises:
    errors.InputError: the run's files are not what the analysis needs.
  """
  _named(name).do(folder, rows, data_dir)


def read(name: str, folder: pathlib.Path, rows: Sequence[str]) -> _Found:
  """Reads what an analysis found; empty where it is not done.

  Raises:
    errors.InputError: a file of it is damaged.
  """
  return _named(name).read(folder, rows)
