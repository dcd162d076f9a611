"""The section of docs/performance.md on growth: exponents, its tables, its words."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pacd_jax.bench import growth_resident

_TITLE = "## Growth"
ROUNDS = 5  # In each of which every size is measured once.


class Row(NamedTuple):
  """What was measured of one entry."""

  quantity: str
  of: str
  sizes: np.ndarray  # `[S]`, growing.
  seconds: np.ndarray  # `[R, S]`: each round's.
  num_bytes: np.ndarray  # `[S]`: of the compiled programs.


def exponent(sizes: np.ndarray, values: np.ndarray) -> float:
  """The a of v = c s^a, by least squares on logarithms; values are positive."""
  if np.ptp(values) == 0:
    return 0.0
  return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


_TIME = ("CPU seconds", "exponent", "last doubling")
HEADS = ("grows", "of", "sizes", *_TIME, "MB", "exponent")
RESIDENT_HEADS = ("grows", "done", "peak MB", "growth", "live arrays, MB")


def cells(row: Row) -> list[str]:
  """A row's line under `HEADS`; the last doubling is that of the largest two sizes."""
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
  """A process's line under `RESIDENT_HEADS`."""
  counts = " / ".join(str(times * found.number) for times in (1, 2, 4))
  peak = " / ".join(f"{size / 1e6:.1f}" for size in found.peak)
  live = " / ".join(f"{size / 1e6:.2f}" for size in found.live)
  return [kind, counts, peak, f"{100 * (found.peak[-1] / found.peak[0] - 1):.1f} %", live]


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]], numbers: int) -> str:
  """A table in Markdown, whose columns from `numbers` on are aligned to the right."""
  aligned = ["---"] * numbers + ["---:"] * (len(heads) - numbers)
  return "".join(f"| {' | '.join(line)} |\n" for line in (heads, aligned, *lines))


_REMARKS = """\
What grows faster than its size, on this machine:

- Victims side by side. One after the other in the same program, which is
  `train.victims_at_once = 1`, they grow linearly, take 0.6 of the time at 16 victims and a
  third of the memory: likely the caches, which hold the activations of one victim's batch.
  MACER's copies are those of two victims side by side.
- Parameters of the `mlp` under attack, at the last doubling. Its matrix products alone grow
  by 1.00, so it is the rest of the step; which part is not measured.
- An image's side, at the last doubling, by more than its pixels: likely the caches, too.
"""


def section(
  lines: Sequence[Sequence[str]], resident: Sequence[Sequence[str]], on: str
) -> str:
  """The section of `docs/performance.md`, with its heading, of both tables' lines."""
  return f"""{_TITLE}

Rewritten by `python -m pacd_jax.bench.growth --write-docs`; without that option it measures
alone, and `--only` measures some lines. Each line enlarges one quantity, all else fixed, on
a network like `small_cnn`, or a wide `mlp`, and images of 16x16 pixels. Time is the CPU's,
of all threads, which other work on the machine changes less than the wall's. The exponent a
is that of time = c size^a, fitted to medians of {ROUNDS} rounds in which sizes take turns;
after ± is the standard deviation of the rounds' own. Fixed costs lower it, so the exponent
between the largest two sizes is beside it. Memory is what XLA plans for the program on all
devices: temporaries, arguments and results. Victims are those of one device. Of an image's
side, 2 is linear in pixels.

Measured on {on}.

{_table(HEADS, lines, 3)}
A process's memory over the steps of an attack, and over epochs of two victims, in the loop
of every stage with its metrics and checkpoints: its peak after N, 2 N and 4 N of them, from
the first one's end on, and the arrays that JAX then holds.

{_table(RESIDENT_HEADS, resident, 2)}
{_REMARKS}"""


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
