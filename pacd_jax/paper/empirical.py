"""Table 5 on a finished run: how far PGD must go, for every victim of some rows.

`distortion/<row>/seed_<k>.tsv` has one line per point: idx, label, distance, found;
`distortion/<row>/seed_<k>.json` has the settings of the search and the run's sigma.
"""

import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.certification import distortion
from pacd_jax.data import arrays
from pacd_jax.experiment.plan import Plan
from pacd_jax.paper import victims
from pacd_jax.runtime import files, run_folder

_FOLDER = "distortion"
MOST_POINTS = {"cifar10": 100}  # As many as the paper has.
MOST_POINTS_ELSE = 200  # On other data sets.
_STREAM = 5  # Folded into a victim's key of certification, for other noise.
SEARCH = distortion.Search()
WORDS = (
  f"Radii are bisected {SEARCH.num_halvings} times from {SEARCH.max_radius:g}; at each, "
  f"SmoothAdv's PGD takes {SEARCH.num_steps} steps over {SEARCH.num_noise_samples} noisy "
  f"copies, and {SEARCH.num_votes} more vote on what it found. A point misclassified as it "
  "is counts with 0, one at which no radius succeeds with the largest."
)


def measure(folder: pathlib.Path, rows: Sequence[str], data_dir: str = "") -> None:
  """Measures what is missing; each victim's files are written atomically.

  Raises:
    errors.InputError: the folder holds no run, its victims are gone, or some were
      measured by another search.
  """
  victims.measure(
    folder, _FOLDER, rows, is_done=_is_done, measure_one=_measure, data_dir=data_dir
  )


def _measure(plan: Plan, params: types.Params, seed: int, stem: pathlib.Path) -> None:
  indices = _indices(plan)
  labels = plan.certify.dataset.labels[indices]
  found = distortion.distances(
    plan.model.apply,
    params,
    arrays.to_float(plan.certify.dataset.images[indices]),
    labels,
    jax.random.fold_in(plan.certify_key(seed), _STREAM),
    sigma=plan.sigma,
    search=SEARCH,
  )
  lines = ["idx\tlabel\tdistance\tfound"]
  for index, label, distance, is_found in zip(
    indices, labels, *map(np.asarray, found), strict=True
  ):
    lines.append(f"{index}\t{label}\t{float(distance)!r}\t{int(is_found)}")
  sidecar = {**SEARCH._asdict(), "sigma": plan.sigma}
  run_folder.write_json(stem.with_suffix(".json"), sidecar)
  # Written last: it says that the victim is done.
  files.write_text(stem.with_suffix(".tsv"), "\n".join(lines) + "\n")


def _indices(plan: Plan) -> np.ndarray:
  """The points that the victims were certified on, or a sample if there are too many."""
  indices = plan.certify.indices
  number = min(len(indices), MOST_POINTS.get(plan.splits.name, MOST_POINTS_ELSE))
  generator = np.random.default_rng([plan.config.seed, _STREAM])
  return np.sort(generator.choice(indices, number, replace=False))


def _is_done(stem: pathlib.Path) -> bool:
  if not stem.with_suffix(".tsv").exists():
    return False
  sidecar = run_folder.read_json(stem.with_suffix(".json"))
  if any(sidecar.get(name) != value for name, value in SEARCH._asdict().items()):
    raise errors.InputError(
      f"{stem}.tsv was measured by another search (see its .json): delete "
      f"{stem.parent.parent}"
    )
  return True


def mean_distances(folder: pathlib.Path, row: str) -> list[float]:
  """Each victim's mean distance, in image units; empty where one is not measured.

  A point at which no radius succeeded counts with the largest radius.

  Raises:
    errors.InputError: a file is damaged, or of another search.
  """
  stems = victims.stems(folder, _FOLDER, row)
  if not all(map(_is_done, stems)):
    return []
  means = []
  for stem in stems:
    try:
      table = np.loadtxt(stem.with_suffix(".tsv"), skiprows=1, ndmin=2)
      means.append(float(table[:, 2].mean()))
    except (ValueError, IndexError):
      raise errors.InputError(f"{stem}.tsv is damaged: delete it and run again") from None
  return means
