"""Several targets: every targeted attack on each of them, by how many get the label.

Each target is attacked by itself, in a run of its own, by victims trained from scratch and
by victims that train the last layer alone of frozen features:

  workdir/scratch/target_<position>  workdir/frozen/target_<position>

All have the same data and the same seeds; runs differ in the target and its poisons alone.
"""

import functools
import os
import pathlib
from collections.abc import Mapping

from pacd_jax.experiment import words
from pacd_jax.experiment.plan import Plan
from pacd_jax.experiment.target_specs import Targets
from pacd_jax.results import target_table
from pacd_jax.runtime import run_folder, stamp
from pacd_jax.suites.runner import Part, Suite


def suite(spec: Targets, workdir: str | os.PathLike[str]) -> Suite:
  """The runs of all targets, and their table."""
  path = pathlib.Path(workdir)
  return Suite(
    path,
    [Part(name, config) for name, config in spec.parts.items()],
    report=functools.partial(_report, path, spec),
    title="part {}",
  )


def _report(path: pathlib.Path, spec: Targets, plans: Mapping[str, Plan]) -> str:
  """Writes `results.json` and the page; returns the table."""
  from pacd_jax.results import target_page  # Imported here: Matplotlib takes a second.

  del plans  # Those that are done already have none.
  parts = [*spec.parts]
  collected = target_table.collect(
    {part: run_folder.read_json(path / part / "results.json") for part in parts}
  )
  folders = [run_folder.RunFolder(path / part, spec.identity) for part in parts]
  stamps = stamp.joined(folder.stamps() for folder in folders)
  path.mkdir(parents=True, exist_ok=True)
  run_folder.write_json(path / "results.json", collected | {"stamps": stamps})
  config = spec.parts[parts[0]]
  origins = {row: words.origin(row, config) for row in config.rows.names}
  target_page.write(path, collected, origins=origins, parts=parts)
  return target_table.table(collected)
