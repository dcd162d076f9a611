"""How time and memory grow with what a user may enlarge, as exponents.

  python -m pacd_jax.bench.growth --write-docs

Measures each quantity of `ENTRIES` at three or four sizes, all else fixed, and fits
t = c s^a by least squares on logarithms. The sizes are measured in turn (A B C A B C ...),
so that a change of the machine's load hits all of them. Then it measures, for each of
`growth_resident.PROGRAMS`, whether a process's memory is flat over its steps.
"""

import argparse
import functools
import pathlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import NamedTuple

import jax
import numpy as np

from pacd_jax import errors
from pacd_jax.bench import __main__ as bench
from pacd_jax.bench import entry, growth_resident, growth_work, matmul
from pacd_jax.runtime import compilation, files, sharding

_DOCS = pathlib.Path("docs", "performance.md")
_ROUNDS = 5
_TITLE = "## Growth"


class Growth(NamedTuple):
  """A quantity, and the work that a user pays it with."""

  quantity: str
  of: str  # The work.
  make: Callable[..., growth_work.Work]
  argument: str  # Of `make`: the quantity; or "width", whose quantity is parameters.
  sizes: tuple[int, ...]


_dense = functools.partial(growth_work.attack_step, dense=True)
ENTRIES = {
  "points": Growth(
    "poison points in the batch",
    "attack step",
    growth_work.attack_step,
    "poison",
    (200, 400, 800),
  ),
  "points_in_all": Growth(
    "poison points, 100 in the batch",
    "attack step, `mlp`",
    _dense,
    "points",
    (4000, 8000, 16000),
  ),
  "parameters_attack": Growth(
    "parameters",
    "attack step, `mlp`",
    functools.partial(_dense, poison=200),
    "width",
    (1, 2, 4),
  ),
  "parameters_victims": Growth(
    "parameters",
    "epoch of 2 victims",
    functools.partial(growth_work.epoch, batch=200, images=400),
    "width",
    (1, 2, 4),
  ),
  "victims": Growth("victims", "their epoch", growth_work.epoch, "victims", (2, 4, 8, 16)),
  "copies": Growth(
    "noise copies k",
    "epoch of 2 MACER victims",
    functools.partial(growth_work.epoch, images=100),
    "copies",
    (8, 16, 32),
  ),
  "samples": Growth(
    "noise samples n",
    "4 certificates",
    growth_work.certification,
    "samples",
    (2500, 5000, 10000, 20000),
  ),
  "classes_attack": Growth(
    "classes", "attack step, `mlp`", _dense, "classes", (256, 512, 1024)
  ),
  "classes_certify": Growth(
    "classes", "4 certificates", growth_work.certification, "classes", (256, 512, 1024)
  ),
  "side_attack": Growth(
    "image side", "attack step", growth_work.attack_step, "side", (8, 16, 32)
  ),
  "side_certify": Growth(
    "image side", "4 certificates", growth_work.certification, "side", (8, 16, 32)
  ),
}
# N of `growth_resident`: it does 4 N of them.
RESIDENT = {"steps": 100, "epochs": 100}


class Row(NamedTuple):
  """What was measured of one entry."""

  quantity: str
  of: str
  sizes: np.ndarray  # `[S]`, growing.
  seconds: np.ndarray  # `[R, S]`: each round's.
  num_bytes: np.ndarray  # `[S]`: of the compiled programs.


def exponent(sizes: np.ndarray, values: np.ndarray) -> float:
  """The a of v = c s^a, by least squares on logarithms; values are positive."""
  return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def clock() -> float:
  """Seconds: the CPU time of all threads, which other work on the machine hardly changes.

  On an accelerator it is the wall's.
  """
  on_cpu = jax.default_backend() == "cpu"
  return time.process_time() if on_cpu else time.perf_counter()


def measure(growth: Growth, *, rounds: int = _ROUNDS) -> Row:
  """Makes the work at each size, calls each once, and measures them in turn."""
  made = [growth.make(**{growth.argument: size}) for size in growth.sizes]
  sizes = np.array(growth.sizes)
  if growth.argument == "width":
    sizes = np.array([each.num_parameters for each in made])
  for each in made:
    entry.seconds(each.run, clock)  # Compiles.
  turns = [[entry.seconds(each.run, clock) for each in made] for _ in range(rounds)]
  num_bytes = np.array([each.num_bytes for each in made])
  return Row(growth.quantity, growth.of, sizes, np.array(turns), num_bytes)


# --- the tables -----------------------------------------------------------------------

_TIME = ("CPU seconds", "exponent", "last doubling")
_HEADS = ("grows", "of", "sizes", *_TIME, "MB", "exponent")
_RESIDENT_HEADS = ("grows", "done", "peak MB", "growth", "live arrays, MB")


def cells(row: Row) -> list[str]:
  """A row's line under `_HEADS`; the last doubling is that of the largest two sizes."""
  seconds = np.median(row.seconds, axis=0)
  fitted = exponent(row.sizes, seconds)
  spread = np.std([exponent(row.sizes, turn) for turn in row.seconds])
  megabytes = row.num_bytes / 1e6
  return [
    row.quantity,
    row.of,
    f"{row.sizes[0]:,} to {row.sizes[-1]:,}",
    f"{seconds[0]:.3g} to {seconds[-1]:.3g}",
    f"{fitted:.2f} ± {spread:.2f}",
    f"{exponent(row.sizes[-2:], seconds[-2:]):.2f}",
    f"{megabytes[0]:.3g} to {megabytes[-1]:.3g}",
    f"{exponent(row.sizes, row.num_bytes):.2f}",
  ]


def resident_cells(kind: str, found: growth_resident.Resident) -> list[str]:
  """A process's line under `_RESIDENT_HEADS`."""
  counts = " / ".join(str(times * found.number) for times in (1, 2, 4))
  peak = " / ".join(f"{size / 1e6:.1f}" for size in found.peak)
  live = " / ".join(f"{size / 1e6:.2f}" for size in found.live)
  return [kind, counts, peak, f"{100 * (found.peak[-1] / found.peak[0] - 1):.1f} %", live]


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]], numbers: int) -> str:
  """A table in Markdown, whose columns from `numbers` on are aligned to the right."""
  aligned = ["---"] * numbers + ["---:"] * (len(heads) - numbers)
  return "".join(f"| {' | '.join(line)} |\n" for line in (heads, aligned, *lines))


def section(
  rows: Sequence[Row], resident: Mapping[str, growth_resident.Resident], on: str
) -> str:
  """The section of `docs/performance.md`, with its heading."""
  lines = [cells(row) for row in rows]
  flat = [resident_cells(kind, found) for kind, found in resident.items()]
  return f"""{_TITLE}

Rewritten by `python -m pacd_jax.bench.growth --write-docs`; without that option it measures
alone, and `--only` measures some lines. Each line enlarges one quantity, all else fixed, on
a network like `small_cnn`, or a wide `mlp`, and images of 16x16 pixels. Time is the CPU's,
of all threads, which other work on the machine changes less than the wall's. The exponent a
is that of time = c size^a, fitted to medians of {_ROUNDS} rounds in which sizes take turns;
after ± is the standard deviation of the rounds' own. Fixed costs lower it, so the exponent
between the largest two sizes is beside it. Memory is what XLA plans for the program on all
devices: temporaries, arguments and results. Of an image's side, 2 is linear in pixels.

Measured on {on}.

{_table(_HEADS, lines, 3)}
A process's memory over the steps of an attack, and over epochs of two victims, in the loop
of every stage with its metrics and checkpoints: its peak after N, 2 N and 4 N of them, from
the first one's end on, and the arrays that JAX then holds.

{_table(_RESIDENT_HEADS, flat, 2)}"""


def replaced(page: str, text: str) -> str:
  """The page with this section in the place of the one of its heading, or at its end."""
  heading = text.partition("\n")[0] + "\n"
  first, *parts = page.rstrip("\n").split("\n## ")
  found = [f"## {part}".rstrip("\n") + "\n" for part in parts]
  places = [place for place, part in enumerate(found) if part.startswith(heading)]
  if places:
    found[places[0]] = text
  else:
    found.append(text)
  return "\n".join([first.rstrip("\n") + "\n", *found])


# --- the command ----------------------------------------------------------------------


def _chosen(names: Sequence[str] | None) -> list[str]:
  known = [*ENTRIES, *RESIDENT]
  if unknown := [name for name in names or () if name not in known]:
    raise errors.InputError(
      f"--only: no entry {', '.join(unknown)}: use some of {', '.join(known)}"
    )
  return [name for name in known if not names or name in names]


def _show(line: Sequence[str]) -> None:
  sys.stdout.write("  ".join(f"{cell:<22}" for cell in line).rstrip() + "\n")
  sys.stdout.flush()


def main(argv: list[str]) -> int:
  """Measures and prints the tables; returns the exit status."""
  parser = argparse.ArgumentParser(prog="python -m pacd_jax.bench.growth")
  parser.add_argument("--write-docs", action="store_true", help=f"rewrite {_DOCS}")
  parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the entries")
  options = parser.parse_args(argv)
  try:
    if options.only and options.write_docs:
      raise errors.InputError("--write-docs is for all entries: leave --only out")
    names = _chosen(options.only)
  except errors.InputError as error:
    sys.stderr.write(f"error: {error}\n")
    return 2
  sharding.cores_as_devices()
  rows = []
  with compilation.shared_by_runs():
    _show(_HEADS)
    for name in filter(ENTRIES.__contains__, names):
      rows.append(measure(ENTRIES[name]))
      _show(cells(rows[-1]))
  _show(_RESIDENT_HEADS)
  kinds = [*filter(RESIDENT.__contains__, names)]
  with futures.ThreadPoolExecutor() as pool:  # They are processes, whose time is not told.
    found = pool.map(growth_resident.measure, kinds, [RESIDENT[kind] for kind in kinds])
    resident = dict(zip(kinds, found, strict=True))
  for kind, of_kind in resident.items():
    _show(resident_cells(kind, of_kind))
  on = bench.hardware(matmul.flops())
  sys.stdout.write(f"{on}\n")
  if options.write_docs:
    page = _DOCS.read_text(encoding="utf-8")
    files.write_text(_DOCS, replaced(page, section(rows, resident, on)))
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
