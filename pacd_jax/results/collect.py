"""Results of many runs, such as those of a sweep, as one table.

  pacd collect runs/sweep [MORE...] [--tsv=FILE] [--csv=FILE] [--latex=FILE]

The command looks for `results.json` in the folders and below them. A line is one row of one
run; `--tsv` and `--csv` write the numbers unrounded, with each victim's ACR and, of
ensembles, the median radius against poisoning and the ACR at each number of poisoned
images, of attacks on single test images their success, and of deterministic certificates
the procedure, the norm of the radii, and verified accuracy; `--latex` writes the table
itself.
"""

import argparse
import csv
import io
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pacd_jax import errors
from pacd_jax.results import ensembles, goals, tables, verified
from pacd_jax.runtime import files, run_folder

HEADINGS = ("run", "class", "sigma", "epsilon", "model", "training", "data")
HEADINGS += ("ACR", "ACA %", "accuracy %")
_OF_RUN = ("dataset", "target_class", "sigma", "model", "training")
_OF_ROW = ("data", "epsilon", "norm", "split", "mode", "dtype", "n0", "n", "alpha", "bound")
_OF_ROW += ("num_points", "num_seeds", "acr_mean", "acr_std", "aca_mean", "aca_std")
_OF_ROW += ("accuracy_mean", "attack_seconds", "acr")
_OF_ENSEMBLE = ("poisoning_unit", "median_radius")  # None where victims are one network.
_AT_LEVEL = "acr_poisoned_"  # ACR that holds whichever so many images are poisoned.

# One row of one run; its keys are `COLUMNS`, and of ensembles `acr_poisoned_<m>`.
Line = dict[str, Any]
COLUMNS = ("run", "seed", *_OF_RUN, *_OF_ROW, *_OF_ENSEMBLE, *goals.COLUMNS)
COLUMNS += verified.COLUMNS


def collect(folders: Sequence[str | os.PathLike]) -> list[Line]:
  """The lines of all runs in the folders and below them, in the order of their names.

  The tables of transfers, comparisons, defences, attacks and targets are skipped, as their
  runs have folders below them.

  Raises:
    errors.InputError: a folder is missing or has no results below it, or a file is damaged.
  """
  lines, seen = [], set()
  for folder in map(pathlib.Path, folders):
    if not folder.is_dir():
      raise errors.InputError(f"{folder} is no folder: give those of runs")
    found = sorted(folder.rglob("results.json"))
    if not found:
      raise errors.InputError(f"{folder} has no results.json below it: run it to its end")
    for path in found:
      if path.resolve() not in seen:
        seen.add(path.resolve())
        lines += _of_run(path)
  return lines


def _of_run(path: pathlib.Path) -> list[Line]:
  results = run_folder.read_json(path)
  try:
    if "victims" in results or "columns" in results:  # Of a transfer, or of defences.
      return []
    # Of a comparison or a table of attacks, or of several targets.
    if any("part" in row or "targets" in row for row in results["rows"]):
      return []
    of_run = {"run": str(path.parent), "seed": _seed(path.parent)}
    of_run |= {name: results[name] for name in _OF_RUN}
    return [
      of_run
      | {name: row[name] for name in _OF_ROW}
      | _of_ensemble(row)
      | goals.line(row)
      | verified.line(row)
      for row in results["rows"]
    ]
  except (AttributeError, KeyError, TypeError) as error:
    raise errors.InputError(
      f"{path} is damaged, or of another version ({error}): rerun --stage=report"
    ) from None


def _of_ensemble(row: Mapping[str, Any]) -> Line:
  """What a row has of certificates against poisoning, if its victims are ensembles."""
  if (found := row.get(ensembles.FIELD)) is None:
    return dict.fromkeys(_OF_ENSEMBLE)
  at = {
    f"{_AT_LEVEL}{each['poisoned_images']}": each["acr_mean"] for each in found["levels"]
  }
  return {"poisoning_unit": found["unit"], "median_radius": found["median_mean"]} | at


def _seed(folder: pathlib.Path) -> int | None:
  path = folder / "config.json"
  if not path.exists():
    return None
  config = run_folder.read_json(path)
  # Other files of a run have seeds, too: those of certificates.
  if "seed" not in config or not isinstance(config.get("data"), Mapping):
    raise errors.InputError(f"{path} is no run's config: restore it, or move it away")
  return config["seed"]


def table(lines: Sequence[Line]) -> str:
  """The lines as plain text, numbers rounded."""
  return tables.aligned([HEADINGS, *map(_cells, lines)]) + "\n"


def _certified(line: Line) -> str:
  """The sigma of a smoothed classifier, or the procedure and norm of verified balls."""
  if line["procedure"] is None:
    return f"{line['sigma']:g}"
  return f"{line['procedure']} ({line['certified_norm']})"


def _cells(line: Line) -> tuple[str, ...]:
  epsilon = "-" if line["epsilon"] is None else f"{line['epsilon']:g} ({line['norm']})"
  return (
    line["run"],
    f"{line['dataset']} {line['target_class']}",
    _certified(line),
    epsilon,
    line["model"],
    line["training"],
    line["data"],
    tables.mean_and_std(line, "acr", scale=1.0, digits=3),
    tables.mean_and_std(line, "aca", scale=100.0, digits=1),
    f"{100.0 * line['accuracy_mean']:.1f}",
  )


def write_tsv(lines: Sequence[Line], path: str | os.PathLike) -> None:
  """Writes lines tab-separated under a header; victims' values are joined by commas."""
  _write(path, _numbers(lines, "\t", ","))


def write_csv(lines: Sequence[Line], path: str | os.PathLike) -> None:
  """Writes lines separated by commas under a header; victims' values by blanks."""
  _write(path, _numbers(lines, ",", " "))


def write_latex(lines: Sequence[Line], path: str | os.PathLike) -> None:
  """Writes the table as a LaTeX tabular, numbers rounded."""
  num_texts = HEADINGS.index("ACR")
  _write(path, tables.latex([HEADINGS, *map(_cells, lines)], num_texts=num_texts))


def _numbers(lines: Sequence[Line], delimiter: str, within: str) -> str:
  text = io.StringIO()
  levels = {name for line in lines for name in line if name.startswith(_AT_LEVEL)}
  columns = *COLUMNS, *sorted(levels, key=lambda name: int(name.removeprefix(_AT_LEVEL)))
  writer = csv.DictWriter(text, columns, delimiter=delimiter, lineterminator="\n")
  writer.writeheader()
  for line in lines:
    acr = line["acr"] or ()  # None if the sampling was for ACA alone.
    writer.writerow(line | {"acr": within.join(map(str, acr))})
  return text.getvalue()


def _write(path: str | os.PathLike, text: str) -> None:
  try:
    files.write_text(pathlib.Path(path), text)
  except OSError as error:
    raise errors.InputError(
      f"{path} cannot be written ({error.strerror}): choose another file"
    ) from None


def main(argv: Sequence[str]) -> int:
  """Prints the table; returns the exit status."""
  parser = argparse.ArgumentParser(prog="pacd collect")
  parser.add_argument("folders", nargs="+", metavar="DIR", help="of runs, or above them")
  parser.add_argument("--tsv", metavar="FILE", help="write all numbers there, too")
  parser.add_argument("--csv", metavar="FILE", help="the same, separated by commas")
  parser.add_argument("--latex", metavar="FILE", help="write the table there, for LaTeX")
  options = parser.parse_args(argv)
  try:
    lines = collect(options.folders)
    for write, path in (
      (write_tsv, options.tsv),
      (write_csv, options.csv),
      (write_latex, options.latex),
    ):
      if path:
        write(lines, path)
  except errors.InputError as error:
    sys.stderr.write(f"error: {error}\n")
    return 2
  sys.stdout.write(table(lines))
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
