"""A matrix of defences: every attack against every defence, by the ACR that is left.

The poisons are made once, by runs without a defence; each defence is a run of its own on
their files, with the same seeds, points and noise, so that columns differ in the defence
alone. An attack that knows a defence is one more run, against that defence:

  workdir/none  workdir/attacks/<variant>  workdir/<defence>  workdir/adaptive/<defence>
"""

import functools
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pacd_jax import types
from pacd_jax.experiment import defense_specs, kinds, schema, words
from pacd_jax.experiment.config import Config
from pacd_jax.experiment.plan import Plan
from pacd_jax.results import defense_table
from pacd_jax.runtime import run_folder, stamp
from pacd_jax.suites.runner import Part, Suite

_NONE = defense_specs.UNDEFENDED


def suite(spec: defense_specs.DefenseMatrix, workdir: str | os.PathLike[str]) -> Suite:
  """The runs of a matrix, and its tables."""
  path = pathlib.Path(workdir)
  return Suite(
    path,
    _parts(spec, path),
    report=functools.partial(_report, path, spec, failed={}),
    report_without=functools.partial(_report, path, spec),
    title="part {}",
  )


def _parts(spec: defense_specs.DefenseMatrix, path: pathlib.Path) -> list[Part]:
  makers = [Part(_NONE, spec.base)]
  makers += [Part(f"attacks/{name}", config) for name, config in spec.variants.items()]
  rows, given = list(spec.base.rows.names), {}
  for row in rows:
    if row != types.CLEAN:
      given[row] = path / _NONE / "poison" / f"{row}.npz"
  for name in spec.variants:
    rows.append(name)
    given[name] = path / "attacks" / name / "poison" / f"{types.PACD}.npz"
  own = {"rows": tuple(rows)}
  own |= {f"poisons.{row}": str(file) for row, file in given.items()}
  names = tuple(part.name for part in makers)
  defended = [
    Part(name, schema.replaced(config, own), names)
    for name, config in spec.defenses.items()
  ]
  knowing = [Part(f"adaptive/{name}", config) for name, config in spec.adaptive.items()]
  return [*makers, *defended, *knowing]


def _report(
  path: pathlib.Path,
  spec: defense_specs.DefenseMatrix,
  plans: Mapping[str, Plan],
  failed: Mapping[str, str],
) -> str | None:
  """Writes `results.json`, the picture and the page; returns the tables.

  There are none without the base, which all else is measured against.
  """
  from pacd_jax.results import defense_page  # Imported here: Matplotlib takes a second.

  del plans  # Those that are done already have none.
  if _NONE in failed:
    return None
  parts = [part.name for part in _parts(spec, path) if part.name not in failed]
  results = {part: run_folder.read_json(path / part / "results.json") for part in parts}
  columns = {
    _NONE: defense_table.undefended(results[_NONE], _of(spec.variants, "attacks/", results))
  }
  columns |= _of(spec.defenses, "", results)
  removed = {name: _removed(path / name) for name in columns if name != _NONE}
  adaptive = _of(spec.adaptive, "adaptive/", results)
  for name in adaptive:
    of_row = _removed(path / "adaptive" / name)
    removed.setdefault(name, {})[defense_table.ADAPTIVE] = of_row.get(types.PACD, {})
  collected = defense_table.collect(
    columns,
    adaptive=adaptive,
    failed=_cells_of(spec, failed),
    removed=removed,
    filters=[name for name, config in spec.defenses.items() if _filters(config)],
    words={
      _NONE: "no defence.",
      **{n: _words(spec.base, config) for n, config in spec.defenses.items()},
    },
  )
  folders = [run_folder.RunFolder(path / part, spec.identity) for part in parts]
  stamps = stamp.joined(folder.stamps() for folder in folders)
  path.mkdir(parents=True, exist_ok=True)
  run_folder.write_json(path / "results.json", collected | {"stamps": stamps})
  origins = {row: words.origin(row, spec.base) for row in spec.base.rows.names}
  origins |= {name: words.pacd(config.attack) for name, config in spec.variants.items()}
  defense_page.write(path, collected, origins=origins, parts=parts)
  return defense_table.table(collected)


def _of(names: Iterable[str], prefix: str, of_parts: Mapping[str, Any]) -> dict[str, Any]:
  """What there is of the parts of these names, behind a prefix."""
  return {name: of_parts[prefix + name] for name in names if prefix + name in of_parts}


def _cells_of(
  spec: defense_specs.DefenseMatrix, failed: Mapping[str, str]
) -> dict[str, dict[str, str]]:
  """By defence and row: why there are no numbers."""
  rows = [*spec.base.rows.names, *spec.variants]
  cells = {_NONE: _of(spec.variants, "attacks/", failed)}
  for name in spec.defenses:
    cells[name] = dict.fromkeys(rows, failed[name]) if name in failed else {}
    if f"adaptive/{name}" in failed:
      cells[name][defense_table.ADAPTIVE] = failed[f"adaptive/{name}"]
  return cells


def _words(base: Config, config: Config) -> str:
  """Says what a defence does, and which fields differ from the base's."""
  chain, inside = config.defense.chain, config.defense.inside
  said = [kinds.DEFENCES[name].words for name in chain.names]
  said += [f"{kinds.TRANSFORMS[n].words}, inside the classifier" for n in inside.names]
  of_base, fields = (schema.flatten(schema.values(each)) for each in (base, config))
  changes = [f"{n} = {value}" for n, value in fields.items() if value != of_base.get(n)]
  trusted = config.train.recovery_epochs or config.train.stopping.every
  names = {*chain.names, *inside.names}
  if trusted or any(
    kinds.DEFENCES[name].uses_trusted(chain.options.get(name)) for name in names
  ):
    said.append("it uses trusted images")
  return f"{'; '.join([*said, ', '.join(changes)])}."


def _filters(config: Config) -> bool:
  return any(kinds.DEFENCES[name].is_filter for name in config.defense.chain.names)


def _removed(folder: pathlib.Path) -> dict[str, dict[str, float]]:
  """By row: the shares of the images that its attack changes, and of others, taken out."""
  found: dict[str, dict[str, float]] = {}
  for file in sorted((folder / "defense").glob("*.json")):
    about = run_folder.read_json(file)
    before, after = (
      np.array([about[f"attacked_{when}"], about[f"images_{when}"]])
      for when in ("before", "after")
    )
    poison, rest = before[0] - after[0], np.diff(before - after)[0]
    found[file.stem] = {
      "poison_removed": float(poison / before[0]) if before[0] else 0.0,
      "clean_removed": float(rest / np.diff(before)[0]),
    }
  return found
