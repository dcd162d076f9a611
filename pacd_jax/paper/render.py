"""Writes the page of all tables, `reproduction.md`, from finished runs alone.

Beside it, `reproduction/` has every table as CSV and LaTeX, and the pictures.
"""

import csv
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from pacd_jax.certification import confidence
from pacd_jax.paper import catalog, claims, pictures, work
from pacd_jax.paper import lines as table_lines
from pacd_jax.paper.analyses import Measured
from pacd_jax.paper.catalog import Item
from pacd_jax.paper.lines import Line
from pacd_jax.paper.protocol import DATASETS, SCALES, Protocol, Run, scales
from pacd_jax.results import tables
from pacd_jax.runtime import files, run_folder

# quantity -> (heading, scale, digits).
QUANTITIES = {
  "acr": ("ACR", 1.0, 3),
  "aca": ("ACA %", 100.0, 1),
  "class_accuracy": ("accuracy of the class %", 100.0, 1),
  "distortion": ("mean l2 distortion", 1.0, 3),
  "acr_others": ("ACR of the other classes", 1.0, 3),
  "linf": ("l_inf", 1.0, 3),
  "l2": ("l2", 1.0, 3),
  "psnr": ("PSNR (dB)", 1.0, 1),
  "ssim": ("SSIM", 1.0, 3),
  "radius_difference": ("difference of the radius", 1.0, 3),
  "of_best": ("of the best", 1.0, 2),
}
_OF_CERTIFICATES = {"acr", "aca", "radius_difference", "of_best"}
_MISSING = "not run"
_HEAD = """# Reproduction of the paper's evaluation

Mehra, Kailkhura, Chen and Hamm, CVPR 2021,
[arXiv:2012.01274](https://arxiv.org/abs/2012.01274), and the questions that follow.
`pacd paper render` writes this page from the runs that are finished; every
number is computed from their files. Beside a mean stands the standard deviation over
victims that differ by their seed, or over images; *s.e.* is the standard error of the
mean, and *paper* what the paper prints. A dash is a number that is not there.
"""


def write(
  out: pathlib.Path, protocols: Sequence[Protocol], items: Sequence[Item]
) -> pathlib.Path:
  """Writes the page, the tables and the pictures; returns the page's path.

  Args:
    out: folder of the page.
    protocols: in the order of the page, each with its runs.
    items: the tables.

  Raises:
    errors.InputError: a folder holds another protocol's run, or a damaged file.
  """
  sections, folder, written = [_HEAD, _absent(protocols)], out / "reproduction", []
  sections.append(claims.section(protocols))
  for protocol in protocols:
    sections += [f"## {protocol.description}\n", _progress(protocol, items)]
    for item in items:
      text, theirs = _section(folder, protocol, item)
      sections.append(text)
      written += theirs
  page = out / "reproduction.md"
  files.write_text(page, "\n".join(sections))
  for path in set(folder.glob("*.*")) - set(written):
    path.unlink()  # Belongs to what is no longer on the page.
  return page


def _absent(protocols: Sequence[Protocol]) -> str:
  """Says which data sets and scales have no run; "full" is the configs' own scale."""
  here = {(protocol.dataset, protocol.scale) for protocol in protocols}
  absent = [
    f"{dataset}, {scale}"
    for scale in SCALES[:-1]
    for dataset in DATASETS
    if scale in scales(dataset) and (dataset, scale) not in here
  ]
  return f"No run yet: {'; '.join(absent)}.\n" if absent else ""


def _progress(protocol: Protocol, items: Sequence[Item]) -> str:
  """Says how many of a protocol's runs are finished, and how long they took."""
  runs = work.in_order([run for item in items for run in item.runs(protocol)])
  finished = [run for run in runs if protocol.is_finished(run)]
  seconds = sum(work.provenance(protocol.folder(r)).get("seconds", 0.0) for r in finished)
  text = (
    f"{len(finished)} of {len(runs)} runs are finished; they took {seconds / 60.0:.0f} "
    "minutes, measurements that only a table needs not counted."
  )
  scale = _fields(protocol.differing(catalog.MAIN)).strip()
  if scale:
    text += f" Beside the fields below, every run has `{scale}`."
  return text + "\n"


def _section(
  folder: pathlib.Path, protocol: Protocol, item: Item
) -> tuple[str, list[pathlib.Path]]:
  """A table of the page, and the files that were written for it."""
  runs = item.runs(protocol)
  found = table_lines.lines(protocol, item)
  name = f"{protocol.name}_{item.name}"
  parts = [f"### {item.title}\n", f"{item.words}\n"]
  if not any(line.here for line in found):
    parts.append(f"Not run: `pacd paper run {_command(protocol, item)}`.\n")
    if not any(line.paper for line in found):
      return "\n".join(parts), []
  cells = _cells(item, found)
  table, tex = folder / f"{name}.csv", folder / f"{name}.tex"
  files.write_text(table, _csv(protocol, item, found))
  files.write_text(tex, tables.latex(cells, num_texts=len(item.columns) + 1))
  parts.append(_markdown(cells) + "\n")
  drawn = pictures.draw(folder / name, protocol, item, runs, found)
  for picture in drawn:
    words = item.title + picture.stem.removeprefix(name).replace("_", ", epsilon ")
    parts.append(f"![{words}](reproduction/{picture.name})\n")
  if any(line.here for line in found):
    if _OF_CERTIFICATES & set(item.quantities):
      parts.append(_sampling(protocol, runs))
    parts.append(_provenance(protocol, runs, found))
  return "\n".join(parts), [table, tex, *drawn]


def _command(protocol: Protocol, item: Item) -> str:
  scale = "" if protocol.scale == "full" else f" --{protocol.scale}"
  data_dir = "" if protocol.dataset == "digits" else " --data_dir=DATA"
  return f"{item.name} --dataset={protocol.dataset}{scale}{data_dir}"


def _cells(item: Item, found: Sequence[Line]) -> list[tuple[str, ...]]:
  """The table as text, headings first: settings, training set, and each quantity."""
  has_paper = any(line.paper for line in found)
  has_spread = any(line.here and line.here.std is not None for line in found)
  headings = [*item.columns, "training set"]
  for quantity in item.quantities:
    headings.append(QUANTITIES[quantity][0])
    headings += ["s.e."] if has_spread else []
    headings += ["paper"] if has_paper else []
  rows = {}
  for line in found:
    key = (*(work.text(line.settings[c]) for c in item.columns), line.row)
    rows.setdefault(key, {})[line.quantity] = line
  table = [tuple(headings)]
  for key, by_quantity in rows.items():
    cells = list(key)
    for quantity in item.quantities:
      line, (_, scale, digits) = by_quantity.get(quantity), QUANTITIES[quantity]
      is_missing = line is not None and not line.is_done
      here = line.here if line else None
      cells.append(_MISSING if is_missing else _here(here, scale, digits))
      if has_spread:
        error = table_lines.standard_error(line.here) if line and line.here else None
        cells.append("-" if error is None else f"{scale * error:.{digits}f}")
      if has_paper:
        paper = line.paper if line else None
        cells.append(_spread(paper.mean, paper.std, scale, digits) if paper else "-")
    table.append(tuple(cells))
  return table


def _fields(fields: Mapping[str, Any]) -> str:
  """Fields as flags of the command line, each after a blank."""
  return "".join(f" --config.{name}={value}" for name, value in fields.items())


def _here(here: Measured | None, scale: float, digits: int) -> str:
  if here is None:
    return "-"
  if here.low is not None and here.high is not None:
    low, high = (f"{scale * value:.{digits}f}" for value in (here.low, here.high))
    return f"{scale * here.mean:.{digits}f} [{low}, {high}]"
  if here.std is None or here.number < 2:
    return f"{scale * here.mean:.{digits}f}"
  return _spread(here.mean, here.std, scale, digits)


def _spread(mean: float, std: float, scale: float, digits: int) -> str:
  return f"{scale * mean:.{digits}f} ± {scale * std:.{digits}f}"


def _markdown(cells: Sequence[tuple[str, ...]]) -> str:
  """A Markdown table."""
  rule = tuple("---" for _ in cells[0])
  return "\n".join("| " + " | ".join(row) + " |" for row in (cells[0], rule, *cells[1:]))


def _csv(protocol: Protocol, item: Item, found: Sequence[Line]) -> str:
  """A CSV of every number in full precision, one per line."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(
    (
      *item.columns,
      *("training_set", "quantity", "mean", "std", "standard_error", "number"),
      *("low", "high", "paper_mean", "paper_std", "run", "config", "fields", "hardware"),
    )
  )
  fields = {run.name: _fields(protocol.differing(run)) for run in item.runs(protocol)}
  for line in found:
    here, numbers = line.here, (None,) * 6
    if here is not None:
      error = table_lines.standard_error(here)
      numbers = here.mean, here.std, error, here.number, here.low, here.high
    paper = line.paper or (None, None)
    made = work.provenance(protocol.runs_dir / protocol.name / line.run)
    writer.writerow(
      (
        *(work.text(line.settings[column]) for column in item.columns),
        *(line.row, line.quantity, *numbers, *paper, line.run),
        *(made.get("config"), fields[line.run].strip(), made.get("hardware")),
      )
    )
  return text.getvalue()


def _sampling(protocol: Protocol, runs: Sequence[Run]) -> str:
  """The sampling of the runs' certificates; several values where runs differ."""
  rows = [row for run in runs for row in _results(protocol, run).get("rows", ())]

  def values(name):
    distinct = sorted({row[name] for row in rows})
    return " or ".join(f"{v:,}" if isinstance(v, int) else str(v) for v in distinct)

  caps = sorted({confidence.largest_radius(1.0, r["n"], r["alpha"]) for r in rows})
  cap = " or ".join(f"{cap:.2f}" for cap in caps)
  return (
    f"Certificates: {values('num_points')} points of the {values('split')} split, "
    f"{values('num_seeds')} victims a training set, n0 = {values('n0')}, "
    f"n = {values('n')}, alpha = {values('alpha')}, bound {values('bound')}; no radius can "
    f"exceed {cap} sigma."
  )


def _results(protocol: Protocol, run: Run) -> dict[str, Any]:
  """A finished run's results; empty for another."""
  if not protocol.is_finished(run):
    return {}
  return run_folder.read_json(protocol.folder(run) / "results.json")


def _commits(protocol: Protocol, runs: Sequence[Run]) -> list[str]:
  """Says which commits made a table's runs, where these differ or are not known."""
  made: dict[str, list[str]] = {}
  for run in runs:
    stamps = _results(protocol, run).get("stamps")
    if stamps is not None:
      made.setdefault(_commit_words(stamps), []).append(run.name)
  if len(made) < 2:
    return []
  return [f"Made by code of {words}: {', '.join(names)}." for words, names in made.items()]


def _commit_words(stamps: Sequence[Mapping[str, Any]]) -> str:
  """The commits that made and resumed a run, each once."""
  names = {}
  for each in stamps:
    commit = (each.get("commit") or "an unknown commit")[:12]
    names[commit + (" with changes" if each.get("changed") else "")] = None
  return ", then ".join(names) or "an unknown commit"


def _provenance(protocol: Protocol, runs: Sequence[Run], found: Sequence[Line]) -> str:
  """The configs of the table's runs, on what hardware they ran, and for how long."""
  words, missing = {}, []
  for run in runs:
    if all(line.here is None for line in found if line.run == run.name):
      missing.append(run.name)
      continue
    made = work.provenance(protocol.folder(run))
    config = f"`{protocol.config_name(run)}`" + _fields(run.fields)
    place = made.get("hardware", "unknown hardware")
    words.setdefault(place, []).append(f"{config} ({made.get('seconds', 0.0):.0f} s)")
  text = [f"On {place}: " + "; ".join(each) + "." for place, each in words.items()]
  text += _commits(protocol, runs)
  if missing:
    text.append(f"Not run yet: {', '.join(missing)}.")
  return "\n".join(text) + "\n"
