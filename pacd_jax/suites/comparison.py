"""Comparison: several attacks on the same budgets, by the ACR left and the time taken.

Victims of clean data are trained and certified once. At each epsilon, all baselines are
rows of one run, and every variant of PACD is a run of its own:

  workdir/clean  workdir/eps_0.1/baselines  workdir/eps_0.1/<name of the variant>

All share the data, the victims' seeds and the points that are certified, so that they
differ in their poisons alone.
"""

import functools
import os
import pathlib
from collections.abc import Mapping, Sequence

from pacd_jax import errors
from pacd_jax.experiment import schema, words
from pacd_jax.experiment.plan import Plan
from pacd_jax.experiment.suite_specs import Comparison
from pacd_jax.results import comparison_table
from pacd_jax.runtime import run_folder, stamp
from pacd_jax.suites.runner import Part, Suite


def suite(spec: Comparison, workdir: str | os.PathLike[str]) -> Suite:
  """The runs of a comparison, and its tables.

  Raises:
    errors.InputError: a field of a run cannot be used.
  """
  path = pathlib.Path(workdir)
  entries = comparison_table.entries(spec.epsilons, spec.baselines, [*spec.variants])
  return Suite(
    path,
    _parts(spec, entries),
    report=functools.partial(_report, path, spec, entries),
    folder=run_folder.RunFolder(path, spec.identity),
    advice=_advice,
  )


def _parts(spec: Comparison, entries: Sequence[comparison_table.Entry]) -> list[Part]:
  parts: dict[str, Part] = {}
  for entry in entries:
    if entry.part in parts:
      continue
    of_method = spec.variants.get(entry.method, spec.base)
    own = {
      "rows": tuple(each.row for each in entries if each.part == entry.part),
      "attack.epsilon": entry.epsilon or spec.epsilons[0],
    }
    with errors.about(entry.part):
      parts[entry.part] = Part(entry.part, schema.replaced(of_method, own))
  return list(parts.values())


def _advice(failed: Sequence[str]) -> str:
  leave_out = " ".join(f"--config.attacks.{name.split('/')[-1]}.row=" for name in failed)
  return f"; {leave_out} leaves out an attack and reports the others"


def _report(
  path: pathlib.Path,
  spec: Comparison,
  entries: Sequence[comparison_table.Entry],
  plans: Mapping[str, Plan],
) -> str:
  """Writes `results.json`, the picture and the page; returns the tables."""
  from pacd_jax.results import comparison_page  # Imported here: Matplotlib takes a second.

  results = {name: run_folder.read_json(p.folder.results) for name, p in plans.items()}
  collected = comparison_table.collect(entries, results)
  stamps = stamp.joined(plan.folder.stamps() for plan in plans.values())
  run_folder.write_json(path / "results.json", collected | {"stamps": stamps})
  first = next(iter(plans.values()))
  comparison_page.write(
    path,
    collected,
    split=first.certify.split,
    origins={e.method: _origin(spec, plans[e.part], e) for e in entries},
    parts=list(plans),
  )
  return comparison_table.table(collected)


def _origin(spec: Comparison, plan: Plan, entry: comparison_table.Entry) -> str:
  """Where a method's images come from."""
  variant = spec.variants.get(entry.method, spec.base)
  of_base, fields = (schema.flatten(schema.values(each)) for each in (spec.base, variant))
  changes = ", ".join(
    f"{name} = {value}" for name, value in fields.items() if value != of_base[name]
  )
  if changes:
    return f"PACD (Algorithm 1) with {changes}."
  return words.origin(entry.row, plan.config)
