"""Table 5 on a finished run: how far PGD must go, for every victim of some rows.

`distortion/<row>/seed_<k>.tsv` has a line a point: idx, label, distance, found; and
`distortion/<row>/seed_<k>.json` the search and the run's noise.
"""

import os
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from pacd_jax import data, distortion, errors, experiment, progress, run_folder, stages
from pacd_jax.plan import Plan

FOLDER = "distortion"
_MOST_POINTS = 200  # Of the run's own, the first of them: as many as the paper has.
_STREAM = 5  # Folded into a victim's key of certification, for other noise.
SEARCH = distortion.Search()


def measure(folder: pathlib.Path, rows: Sequence[str]) -> None:
  """Measures what is missing; each victim's file is written beside, then renamed.

  Raises:
    errors.InputError: the folder holds no run, or its victims are gone.
  """
  if all(_is_complete(folder, row) for row in rows):
    return
  plan = experiment.load(folder)
  indices = plan.certify.indices[:_MOST_POINTS]
  images = jax.device_put(data.to_float(plan.certify.dataset.images[indices]))
  labels = jax.device_put(plan.certify.dataset.labels[indices])
  victims = {v: p for v, p in stages.load_victims(plan).items() if v[0] in rows}
  shown = progress.Progress("distortion", len(victims), unit="victims")
  for done, ((row, seed), params) in enumerate(victims.items(), start=1):
    path = folder / FOLDER / row / f"seed_{seed}.tsv"
    if not path.exists():
      found = distortion.distances(
        plan.model.apply,
        params,
        images,
        labels,
        jax.random.fold_in(plan.certify_key(seed), _STREAM),
        sigma=plan.sigma,
        search=SEARCH,
      )
      _write(plan, path, indices, *map(np.asarray, found))
    shown.update(done)


def _write(plan: Plan, path: pathlib.Path, indices, distances, found) -> None:
  labels = plan.certify.dataset.labels[indices]
  lines = ["idx\tlabel\tdistance\tfound"]
  for each in zip(indices, labels, distances, found, strict=True):
    index, label, distance, is_found = each
    lines.append(f"{index}\t{label}\t{float(distance)!r}\t{int(is_found)}")
  sidecar = {**SEARCH._asdict(), "sigma": plan.sigma, "num_victims": len(plan.seeds)}
  run_folder.write_json(path.with_suffix(".json"), sidecar)
  beside = path.with_name(path.name + ".tmp")
  beside.write_text("\n".join(lines) + "\n")
  os.replace(beside, path)  # Last: it says that the victim is done.


def _is_complete(folder: pathlib.Path, row: str) -> bool:
  paths = sorted((folder / FOLDER / row).glob("seed_*.tsv"))
  for path in paths:
    sidecar = run_folder.read_json(path.with_suffix(".json"))
    if any(sidecar.get(name) != value for name, value in SEARCH._asdict().items()):
      raise errors.InputError(
        f"{path} was measured by another search (see its .json): delete {folder / FOLDER}"
      )
  return bool(paths) and len(paths) == sidecar["num_victims"]


def mean_distances(folder: pathlib.Path, row: str) -> list[float]:
  """Of each victim, in image units; empty where they are not measured.

  A point at which no radius succeeded counts with the largest.

  Raises:
    errors.InputError: a file is damaged.
  """
  if not _is_complete(folder, row):
    return []
  means = []
  for path in sorted((folder / FOLDER / row).glob("seed_*.tsv")):
    try:
      table = np.loadtxt(path, skiprows=1, ndmin=2)
      means.append(float(table[:, 2].mean()))
    except (ValueError, IndexError):
      raise errors.InputError(f"{path} is damaged: delete it and run again") from None
  return means
