"""Table 5 on a finished run: how far an attack must go, for every victim of some rows.

`distortion/<row>/seed_<k>.tsv` has one line per point: idx, label, distance, found;
`distortion/<row>/seed_<k>.json` has the settings of the search and the run's sigma. They
are PGD's, as in the paper; another attack's are in `distortion_<attack>/`.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.certification import distortion
from pacd_jax.data import arrays
from pacd_jax.experiment import bound_file, kinds
from pacd_jax.experiment.plan import Plan
from pacd_jax.paper import victims
from pacd_jax.runtime import run_folder

_FOLDER = "distortion"
MOST_POINTS = {"cifar10": 100}  # As many as the paper has.
MOST_POINTS_ELSE = 200  # On other data sets.
_STREAM = 5  # Folded into a victim's key of certification, for other noise.
SEARCH = distortion.Search()
PGD = "pgd"  # The paper's attack.


def attacks() -> tuple[str, ...]:
  """Those that the table can be made by, with all that were added to the registry."""
  return tuple(entry.name for entry in kinds.EVASIONS if "l2" in entry.norms)


def words(attack: str = PGD) -> str:
  """How the distances are found, for readers."""
  text = f"Radii are bisected {SEARCH.num_halvings} times from {SEARCH.max_radius:g}; "
  if attack == PGD:
    text += (
      f"at each, SmoothAdv's PGD takes {_settings(attack)['num_steps']} steps over "
      f"{SEARCH.num_noise_samples} noisy copies, "
    )
  else:
    settings = ", ".join(f"{name} {value}" for name, value in _settings(attack).items())
    in_brackets = f" ({settings})" if settings else ""
    text += (
      f"the attack is {kinds.EVASIONS[attack].words}{in_brackets}, "
      f"over {SEARCH.num_noise_samples} noisy copies, "
    )
  return text + (
    f"and {SEARCH.num_votes} more vote on what it found. A point misclassified as it "
    "is counts with 0, one at which no radius succeeds with the largest."
  )


def _settings(attack: str) -> dict[str, Any]:
  options = kinds.EVASIONS[attack].options
  return {} if options is None else dataclasses.asdict(options())


def analysis(attack: str) -> str:
  """The name of the table's analysis by an attack."""
  return _suffixed("distortion", attack)


def _folder(attack: str) -> str:
  return _suffixed(_FOLDER, attack)


def _suffixed(name: str, attack: str) -> str:
  return name if attack == PGD else f"{name}_{attack}"


def measure(
  folder: pathlib.Path, rows: Sequence[str], data_dir: str = "", *, attack: str = PGD
) -> None:
  """Measures what is missing; each victim's files are written atomically.

  Args:
    folder: the run's folder.
    rows: training sets.
    data_dir: where the data are, if they are no longer where they were.
    attack: one of `attacks`, with its default options.

  Raises:
    errors.InputError: the folder holds no run, its victims are gone, or some were
      measured by another search.
  """
  victims.measure(
    folder,
    _folder(attack),
    rows,
    is_done=functools.partial(_is_done, attack=attack),
    measure_one=functools.partial(_measure, attack),
    data_dir=data_dir,
  )


def _measure(
  attack: str, plan: Plan, params: types.Params, seed: int, stem: pathlib.Path
) -> None:
  entry = kinds.EVASIONS[attack]
  options = None if entry.options is None else entry.options()
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
    attack=entry.make(kinds.EvasionTools("l2", targeted=False), options),
  )
  lines = ["idx\tlabel\tdistance\tfound"]
  for index, label, distance, is_found in zip(
    indices, labels, *map(np.asarray, found[:2]), strict=True
  ):
    lines.append(f"{index}\t{label}\t{float(distance)!r}\t{int(is_found)}")
  sidecar = {**_identity(attack), "sigma": plan.sigma}
  contents = "\n".join([*lines, ""]).encode()
  # The table is written last: it says that the victim is done.
  bound_file.write(stem.with_suffix(".tsv"), contents, plan.folder.fingerprint, sidecar)


def _indices(plan: Plan) -> np.ndarray:
  """The points that the victims were certified on, or a sample if there are too many."""
  indices = plan.certify.indices
  number = min(len(indices), MOST_POINTS.get(plan.splits.name, MOST_POINTS_ELSE))
  generator = np.random.default_rng([plan.config.seed, _STREAM])
  return np.sort(generator.choice(indices, number, replace=False))


def _identity(attack: str) -> dict[str, Any]:
  return _settings(attack) | SEARCH._asdict()


def _is_done(stem: pathlib.Path, attack: str = PGD) -> bool:
  if not stem.with_suffix(".tsv").exists():
    return False
  sidecar = run_folder.read_json(stem.with_suffix(".json"))
  # What an earlier version's does not name was as it is by default.
  if any(sidecar.get(n, value) != value for n, value in _identity(attack).items()):
    raise errors.InputError(
      f"{stem}.tsv was measured by another search (see its .json): delete "
      f"{stem.parent.parent}"
    )
  return True


def mean_distances(folder: pathlib.Path, row: str, attack: str = PGD) -> list[float]:
  """Each victim's mean distance, in image units; empty where one is not measured.

  A point at which no radius succeeded counts with the largest radius.

  Raises:
    errors.InputError: a file is damaged, or of another search.
  """
  stems = victims.stems(folder, _folder(attack), row)
  if not all(_is_done(stem, attack) for stem in stems):
    return []
  means = []
  for stem in stems:
    bound_file.check(stem.with_suffix(".tsv"), None, "delete it and run again")
    try:
      table = np.loadtxt(stem.with_suffix(".tsv"), skiprows=1, ndmin=2)
      means.append(float(table[:, 2].mean()))
    except (ValueError, IndexError):
      raise errors.InputError(f"{stem}.tsv is damaged: delete it and run again") from None
  return means
