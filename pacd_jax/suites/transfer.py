"""Transfer: several kinds of victims, each trained on every poison; one table of them all.

Each kind of victim is a run of its own, in a folder of its name, whose rows are the clean
data and the poisons; so it is checked and resumed as any run. Section 4.5 of Mehra et al.
(2021), https://arxiv.org/abs/2012.01274.
"""

import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from pacd_jax import errors, types
from pacd_jax.experiment.plan import Plan
from pacd_jax.experiment.suite_specs import Transfer
from pacd_jax.results import matrix
from pacd_jax.runtime import run_folder, stamp
from pacd_jax.suites.runner import Part, Suite


def suite(spec: Transfer, workdir: str | os.PathLike[str]) -> Suite:
  """The runs of a transfer, one for each kind of victim, and its table."""
  path = pathlib.Path(workdir)
  return Suite(
    path,
    [Part(name, config) for name, config in spec.victims.items()],
    report=functools.partial(_report, path),
    folder=run_folder.RunFolder(path, spec.identity),
    check=_check,
    title="victim {}",
  )


def _check(victims: Mapping[str, Plan]) -> None:
  """Checks that all poisons are there, and that the victims' numbers are comparable."""
  missing = {}
  for victim in victims.values():
    for name, path in victim.training_sets.given.items():
      if not path.exists() and not victim.training_sets.is_there(name):
        missing[name] = path
  if missing:
    these = ", ".join(f"poisons.{name} ({path})" for name, path in missing.items())
    raise errors.InputError(
      f"there is nothing at {these}: run what makes it, as the config's docstring says, or "
      f"leave it out by --config.poisons.{next(iter(missing))}="
    )
  (first_name, first), *others = victims.items()
  for name, other in others:
    for what, values in {
      "data": [victim.training_sets.checksum(types.CLEAN) for victim in (first, other)],
      "data.target_class": [first.target_class, other.target_class],
      "sigma": [first.sigma, other.sigma],
      "certify": [_how_certified(victim) for victim in (first, other)],
      "train.num_victims": [len(first.seeds), len(other.seeds)],
    }.items():
      if values[0] != values[1]:
        raise errors.InputError(
          f"victims {first_name} and {name} differ in {what}: give all victims the same"
        )


def _how_certified(victim: Plan) -> dict[str, Any]:
  points = victim.certify
  how = points.identity(points.indices, victim.certify_key(0)) | {"key": None}
  return how | {"options": points.settings.options}


def _report(path: pathlib.Path, victims: Mapping[str, Plan]) -> str:
  """Writes `results.json`, the picture and the page; returns the tables."""
  from pacd_jax.results import transfer_page  # Imported here: Matplotlib takes a second.

  results = {
    name: run_folder.read_json(victim.folder.results) for name, victim in victims.items()
  }
  collected = matrix.collect(results)
  stamps = stamp.joined(victim.folder.stamps() for victim in victims.values())
  run_folder.write_json(path / "results.json", collected | {"stamps": stamps})
  first = next(iter(victims.values()))
  origins = {name: _origin(first, name) for name in first.training_sets.given}
  transfer_page.write(path, collected, split=first.certify.split, origins=origins)
  return matrix.table(collected)


def _origin(victim: Plan, row: str) -> str:
  sets = victim.training_sets
  (epsilon, norm), sigma = sets.budget(row), sets.assumed_sigma(row)
  made = f"made for sigma {sigma:g}" if sigma else "made without a sigma"
  return f"{sets.given[row]}: at most {epsilon:g} ({norm}) from its base images, {made}."
