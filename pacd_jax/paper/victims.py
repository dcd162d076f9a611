"""Measures the victims of a finished run that still lack a measurement."""

import pathlib
from collections.abc import Callable, Sequence

from pacd_jax import types
from pacd_jax.experiment import door, stages
from pacd_jax.experiment.plan import Plan
from pacd_jax.runtime import progress, run_folder

# Called with the run, a victim's parameters and seed, and the stem of its files.
MeasureFn = Callable[[Plan, types.Params, int, pathlib.Path], None]
IsDoneFn = Callable[[pathlib.Path], bool]  # Called with the stem of a victim's files.


def stems(folder: pathlib.Path, name: str, row: str) -> list[pathlib.Path]:
  """`<folder>/<name>/<row>/seed_<k>` of every victim of a row of a finished run."""
  rows = run_folder.read_json(folder / "results.json")["rows"]
  number = next(each["num_seeds"] for each in rows if each["data"] == row)
  return [folder / name / row / f"seed_{seed}" for seed in range(number)]


def measure(
  folder: pathlib.Path,
  name: str,
  rows: Sequence[str],
  *,
  is_done: IsDoneFn,
  measure_one: MeasureFn,
  data_dir: str = "",
) -> None:
  """Measures the victims of some rows that are not measured yet, one after the other.

  Args:
    folder: the run's folder.
    name: the measurement: its folder there, and its name in the progress line.
    rows: training sets.
    is_done: whether a victim's files are there.
    measure_one: writes them.
    data_dir: where the data are, if they are no longer where they were.

  Raises:
    errors.InputError: the folder holds no run, is in use, or its victims are gone.
  """
  missing = {
    (row, seed): stem
    for row in rows
    for seed, stem in enumerate(stems(folder, name, row))
    if not is_done(stem)
  }
  if not missing:
    return
  plan = door.load(folder, data_dir=data_dir)
  with plan.folder:  # Locked: no other process writes there.
    params = stages.load_victims(plan)
    shown = progress.Progress(name.replace("_", " "), len(missing), unit="victims")
    for done, (victim, stem) in enumerate(missing.items(), start=1):
      measure_one(plan, params[victim], victim[1], stem)
      shown.update(done)
