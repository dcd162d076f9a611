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
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import NamedTuple

import jax
import numpy as np

from pacd_jax import errors
from pacd_jax.bench import __main__ as bench
from pacd_jax.bench import (
  entry,
  growth_page,
  growth_resident,
  growth_votes,
  growth_work,
  matmul,
)
from pacd_jax.runtime import compilation, files, sharding

_DOCS = pathlib.Path("docs", "performance.md")


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
  "victims": Growth(
    "victims, side by side",
    "their epoch",
    functools.partial(growth_work.epoch, images=500),
    "victims",
    (4, 8, 16),
  ),
  "victims_in_turn": Growth(
    "victims, one after the other",
    "their epoch",
    functools.partial(growth_work.epoch, images=500, at_once=1),
    "victims",
    (4, 8, 16),
  ),
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
    growth_votes.certification,
    "samples",
    (2500, 5000, 10000, 20000),
  ),
  "classes_attack": Growth(
    "classes", "attack step, `mlp`", _dense, "classes", (256, 512, 1024)
  ),
  "classes_certify": Growth(
    "classes", "4 certificates", growth_votes.certification, "classes", (256, 512, 1024)
  ),
  "side_attack": Growth(
    "image side", "attack step", growth_work.attack_step, "side", (8, 16, 32)
  ),
  "side_certify": Growth(
    "image side", "4 certificates", growth_votes.certification, "side", (8, 16, 32)
  ),
}
# N of `growth_resident`: it does 4 N of them.
RESIDENT = {"steps": 100, "epochs": 100}


def clock() -> float:
  """Seconds: the CPU time of all threads, which other work on the machine hardly changes.

  On an accelerator it is the wall's.
  """
  on_cpu = jax.default_backend() == "cpu"
  return time.process_time() if on_cpu else time.perf_counter()


def measure(growth: Growth, *, rounds: int = growth_page.ROUNDS) -> growth_page.Row:
  """Makes the work at each size, calls each once, and measures them in turn."""
  made = [growth.make(**{growth.argument: size}) for size in growth.sizes]
  sizes = np.array(growth.sizes)
  if growth.argument == "width":
    sizes = np.array([each.num_parameters for each in made])
  for each in made:
    entry.seconds(each.run, clock)  # Compiles.
  turns = [[entry.seconds(each.run, clock) for each in made] for _ in range(rounds)]
  num_bytes = np.array([each.num_bytes for each in made])
  return growth_page.Row(growth.quantity, growth.of, sizes, np.array(turns), num_bytes)


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
  lines, resident = [], []
  with compilation.shared_by_runs():
    _show(growth_page.HEADS)
    for name in filter(ENTRIES.__contains__, names):
      lines.append(growth_page.cells(measure(ENTRIES[name])))
      _show(lines[-1])
  _show(growth_page.RESIDENT_HEADS)
  kinds = [*filter(RESIDENT.__contains__, names)]
  with futures.ThreadPoolExecutor() as pool:  # They are processes, whose time is not told.
    found = pool.map(growth_resident.measure, kinds, [RESIDENT[kind] for kind in kinds])
    for kind, of_kind in zip(kinds, found, strict=True):
      resident.append(growth_page.resident_cells(kind, of_kind))
      _show(resident[-1])
  on = bench.hardware(matmul.flops())
  sys.stdout.write(f"{on}\n")
  if options.write_docs:
    page, text = _DOCS.read_text("utf-8"), growth_page.section(lines, resident, on)
    files.write_text(_DOCS, growth_page.replaced(page, text))
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
