"""A table of attacks: every attack once, by what victims keep and what its attacker gets.

Each attack is a run of its own, all with the same data, seeds, points and noise, so that
they differ in their poisons alone:

  workdir/clean  workdir/<name of the attack>

An attack whose victims train otherwise has clean data beside it in its run.
"""

import functools
import os
import pathlib
from collections.abc import Mapping

import numpy as np

from pacd_jax import types
from pacd_jax.experiment import attack_specs, kinds, schema, words
from pacd_jax.experiment.config import Config
from pacd_jax.experiment.plan import Plan
from pacd_jax.results import attack_table
from pacd_jax.runtime import run_folder, stamp
from pacd_jax.suites.runner import Part, Suite


def suite(spec: attack_specs.AttackTable, workdir: str | os.PathLike[str]) -> Suite:
  """The runs of a table of attacks, and the table."""
  path = pathlib.Path(workdir)
  parts = [Part(types.CLEAN, spec.base)]
  parts += [Part(name, attack.config) for name, attack in spec.attacks.items()]
  return Suite(
    path,
    parts,
    report=functools.partial(_report, path, spec),
    folder=run_folder.RunFolder(path, spec.identity),
    advice=lambda failed: (
      "; "
      + " ".join(f"--config.attacks.{name}.row=" for name in failed)
      + " leaves out an attack and reports the others"
    ),
  )


def _report(
  path: pathlib.Path, spec: attack_specs.AttackTable, plans: Mapping[str, Plan]
) -> str:
  """Writes `results.json`, the picture and the page; returns the tables."""
  from pacd_jax.results import attack_page  # Imported here: Matplotlib takes a second.

  results = {name: run_folder.read_json(p.folder.results) for name, p in plans.items()}
  lines = [attack_table.Line(types.CLEAN, types.CLEAN, types.CLEAN)]
  for name, attack in spec.attacks.items():
    own_clean = f"{name}, clean"
    if attack.has_own_victims:
      lines.append(attack_table.Line(own_clean, name, types.CLEAN))
    clean = own_clean if attack.has_own_victims else types.CLEAN
    facts = _facts(plans[name], attack.row)
    lines.append(attack_table.Line(name, name, attack.row, clean, facts))
  collected = attack_table.collect(lines, results)
  stamps = stamp.joined(plan.folder.stamps() for plan in plans.values())
  run_folder.write_json(path / "results.json", collected | {"stamps": stamps})
  attack_page.write(
    path,
    collected,
    origins={name: _origin(spec.base, attack) for name, attack in spec.attacks.items()},
    parts=list(plans),
  )
  return attack_table.table(collected)


def _facts(plan: Plan, row: str) -> attack_table.Facts:
  """What the poison of a row changes, from its file."""
  poison = plan.training_sets.poison(row)
  delta = np.abs(poison.images.astype(np.float64) - poison.base_images) / 255.0
  sizes = delta.reshape(len(delta), -1)
  return attack_table.Facts(
    num_train=len(plan.splits.train.labels),
    num_images=len(poison.images),
    num_relabelled=int((poison.labels != poison.base_labels).sum()),
    num_inserted=int(poison.inserted.sum()),
    linf=float(sizes.max(initial=0.0)),
    l2=float(np.sqrt((sizes**2).sum(axis=1)).max(initial=0.0)),
    is_bounded=kinds.ROWS[row].is_bounded,
  )


def _origin(base: Config, attack: attack_specs.Attack) -> str:
  """Where an attack's images come from, and which fields differ from the base's."""
  of_base, fields = (
    schema.flatten(schema.values(each) | {"rows": []}) for each in (base, attack.config)
  )
  changes = ", ".join(
    f"{name} = {value}" for name, value in fields.items() if value != of_base.get(name)
  )
  said = words.origin(attack.row, attack.config)
  return f"{said} With {changes}." if changes else said
