"""Writes docs/configuration.md from the tree of fields and the registries.

  python -m pacd_jax.experiment.reference [FILE]

rewrites it; a test compares the file with this.
"""

import pathlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from pacd_jax.experiment import config, kinds, schema
from pacd_jax.registry import Registry
from pacd_jax.runtime import files

PATH = pathlib.Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
_HEAD = """# Configuration

Written by `python -m pacd_jax.experiment.reference` from `pacd_jax/experiment/config.py`
and the registries of `pacd_jax/experiment/kinds`.

A config is a file of `configs/`, and behind a colon its variants and fields:
`--config=configs/mnist_ga.py:fast,sigma=0.5`. A field is also set by
`--config.FIELD=VALUE`, after the variants; not by both. What a config derives from a field
(MACER's lambda from sigma) follows the field behind the colon alone. A run can be
resumed with another value of a field marked *free*.

A field that names something, such as `train.loss`, has a group of that name's options
beside it: `train.macer.lam`. What can be named is in the second part.
"""
# Title of a kind, its registry, and the fields that name entries of it.
_KINDS: tuple[tuple[str, Registry[Any], str], ...] = (
  ("Rows", kinds.ROWS, "rows"),
  ("Triggers of backdoors", kinds.TRIGGERS, "rows"),
  ("Training losses", kinds.LOSSES, "train.loss, attack.loss"),
  ("Steps of an adversary", kinds.ASCENTS, "train.adversary.ascent"),
  ("Attacks at test time", kinds.EVASIONS, "pacd evade --attack"),
  ("Objectives", kinds.OBJECTIVES, "attack.objective"),
  ("Hypergradients", kinds.HYPERGRADIENTS, "attack.hypergradient"),
  ("Curvatures", kinds.CURVATURES, "attack.curvature"),
  ("Solvers", kinds.SOLVERS, "attack.solver"),
  ("Step rules", kinds.STEP_RULES, "attack.step_rule"),
  ("Presets", kinds.PRESETS, "attack.preset"),
  ("Starts", kinds.STARTS, "attack.starts"),
  ("Schedules", kinds.SCHEDULES, "train.schedule, attack.step_schedule"),
  ("Networks", kinds.NETWORKS, "model.name"),
  ("Data sets", kinds.DATA_SETS, "data.name"),
  ("Augmentations", kinds.AUGMENTS, "data.augment, train.augment"),
  ("Manifolds", kinds.MANIFOLDS, "data.manifold"),
  ("Mixing", kinds.MIXES, "train.mix"),
  ("Ensembles", kinds.AGGREGATIONS, "train.ensemble.aggregation"),
  ("Defences", kinds.DEFENCES, "defense.chain"),
  ("Transforms", kinds.TRANSFORMS, "defense.inside"),
  ("Losses of denoisers", kinds.DENOISER_LOSSES, "denoiser.loss"),
  ("Certification procedures", kinds.PROCEDURES, "certify.procedure"),
  ("Sampling rules", kinds.SAMPLING_RULES, "certify.mode"),
)


def page() -> str:
  """The whole page, as markdown."""
  sections = [_HEAD, "## Fields\n"]
  groups: dict[str, list[tuple[str, schema.Field]]] = {}
  for name, field in schema.known().items():
    group = name.partition(".")[0] if "." in name else ""
    groups.setdefault(group, []).append((name, field))
  for group, of_group in groups.items():
    title = f"### `{group}`\n" if group else "### Of the run\n"
    sections += [title, _about(group), _fields(of_group)]
  for named in schema.named_fields():
    sections += [f"### `{named.name}`\n", f"{named.doc} Each: {named.must_be}.\n"]
  sections.append("## What can be named\n")
  for title, registry, where in _KINDS:
    names = ", ".join(f"`{name}`" for name in where.split(", "))
    rows = [(f"`{entry.name}`", entry.words) for entry in registry]
    sections += [f"### {title}: {names}\n", _table(("name", "what it is"), rows)]
  return "\n".join(sections)


def _about(group: str) -> str:
  """The docstring of a group's class; "" for the options of an entry."""
  known = {each.name: each for each in config.Config.__dataclass_fields__.values()}
  kind = known[group].metadata.get("group") if group in known else None
  return f"{kind.__doc__}\n" if kind is not None else ""


def _fields(fields: Iterable[tuple[str, schema.Field]]) -> str:
  rows = []
  for name, field in fields:
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    doc = field.doc + (" *Free.*" if field.free else "")
    rows.append((f"`{name}`", f"`{default!r}`", field.check.must_be, doc))
  return _table(("field", "default", "must be", "what it is"), rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  lines = [heads, ["---"] * len(heads), *rows]
  escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
  return "\n".join("| " + " | ".join(line) + " |" for line in escaped) + "\n"


def main(arguments: Sequence[str]) -> int:
  """Writes the page; returns the exit status."""
  path = pathlib.Path(arguments[0]) if arguments else PATH
  files.write_text(path, page())
  sys.stdout.write(f"{path}\n")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
