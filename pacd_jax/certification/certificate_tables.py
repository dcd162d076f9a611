"""The two tables of a victim's certificates: their lines, and what a line may hold.

A point is a line of `COLUMNS` in one, and its votes by class in the other, which is lacking
for deterministic certificates; see `certificates.py`, which reads and writes both.
"""

import contextlib
import errno
import hashlib
import os
import reprlib
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import BinaryIO

from pacd_jax import errors
from pacd_jax.certification import provenance
from pacd_jax.certification.rules.rule import Sidecar
from pacd_jax.runtime import files

COLUMNS = ("idx", "label", "predict", "radius", "correct", "time")
RERUN = "rerun --stage=certify"

# The columns, the parsed rows, and the complete lines, of which the first is the header.
Table = tuple[Sequence[str], list[tuple], list[bytes]]


def paths(path: str | os.PathLike) -> tuple[Path, Path, Path]:
  """The table of points, that of votes, and the sidecar, of `DIR/seed_<k>[.tsv]`."""
  stem = os.fspath(path).removesuffix(".tsv")
  return Path(f"{stem}.tsv"), Path(f"{stem}.counts.tsv"), Path(f"{stem}.json")


def line_of(fields: Sequence[str]) -> bytes:
  """Fields as a line without its end."""
  return "\t".join(fields).encode()


def append(file: BinaryIO, line: bytes):
  """Appends a line; once this returns, killing the process does not lose it."""
  with files.naming(file.name):
    file.write(line + b"\n")
    file.flush()


def digest(point: bytes, votes: bytes) -> str:
  """Eight hexadecimal digits of a point's lines in both tables, without its time."""
  lines = point.rpartition(b"\t")[0] + b"\n" + votes
  return hashlib.sha256(lines).hexdigest()[:8]


@contextlib.contextmanager
def opened_at(file: Path, table: Table, done: int) -> Generator[BinaryIO]:
  """Opens a table to append after its first `done` rows, and cuts off what follows them."""
  columns, _, lines = table
  try:
    opened = file.open("ab")
  except OSError as error:
    if error.errno not in (errno.EISDIR, errno.ELOOP):  # Others are of the file system.
      raise
    fault = f"{file} cannot be written ({error.strerror})"
    raise errors.InputError(f"{fault}; delete it, {RERUN}") from None
  with files.naming(file), opened:  # Closing it writes, too.
    opened.truncate(sum(len(line) + 1 for line in lines[: done + 1]))
    if not lines:
      append(opened, line_of(columns))
    yield opened


def read_both(path, sidecar: Sidecar) -> tuple[Table, Table, int]:
  """Both tables, and the number of points that are complete in both.

  Without votes, every point of the first has an empty line in the second.
  """
  tsv, counts, _ = paths(path)
  points = _read(tsv, COLUMNS, parse_point, sidecar)
  if not provenance.has_votes(sidecar):
    return points, ((), [()] * len(points[1]), [b""] * len(points[2])), len(points[1])
  votes = ("idx", *map(str, range(sidecar["num_classes"]))), [], []
  if points[1]:  # Votes without points are useless, and may be from another run.
    votes = _read(counts, votes[0], parse_votes, sidecar)
  return points, votes, min(len(points[1]), len(votes[1]))


def digests(path, sidecar: Sidecar, points: Table, votes: Table) -> list[str]:
  """The digest of each point that both tables have; raises if a line has changed."""
  lines = zip(points[2][1:], votes[2][1:], strict=False)
  found = [digest(*pair) for pair in lines]
  there = zip(found, sidecar.get("digests", ()), strict=False)
  for number, (now, written) in enumerate(there, start=2):
    if now != written:
      fault = f"{paths(path)[0]}, line {number}: it, or its votes, have changed"
      raise errors.InputError(f"{fault} since; delete it, {RERUN}")
  return found


def _read(
  file: Path, columns: Sequence[str], parse: Callable[..., tuple], sidecar: Sidecar
) -> Table:
  """Parses the complete lines; raises InputError at the first invalid one."""
  contents = files.read_bytes(file) if file.exists() else b""
  *lines, half_line = contents.split(b"\n")
  header, rows = line_of(columns), []
  for number, line in enumerate(lines or [half_line], start=1):
    try:
      if number > 1:
        fields = line.decode(errors="replace").split("\t")
        rows.append(parse(fields, number - 2, sidecar))
      elif line != (header if lines else header[: len(line)]):
        raise ValueError(f"the header is not {reprlib.repr(header.decode())}")
    except ValueError as error:
      fault = f"{file}, line {number}: {error}"
      raise errors.InputError(f"{fault}; delete it, {RERUN}") from None
  return columns, rows, lines


def parse_point(fields: Sequence[str], row: int, sidecar: Sidecar) -> tuple:
  """Index, label, class and radius of the row-th point; raises ValueError."""
  _check_row(fields, row, len(COLUMNS), sidecar)
  label, predict, radius = int(fields[1]), int(fields[2]), float(fields[3])
  if not (0 <= label < sidecar["num_classes"] > predict >= -1):
    raise ValueError(f"label {label} or predict {predict} is none of the classes")
  if not 0.0 <= radius < float("inf"):
    raise ValueError(f"radius {radius} is not a finite number >= 0")
  if int(fields[4]) != (predict == label):
    raise ValueError(f"correct {fields[4]}, but label {label} and predict {predict}")
  return int(fields[0]), label, predict, radius


def parse_votes(fields: Sequence[str], row: int, sidecar: Sidecar) -> tuple:
  """Votes of the row-th point by class; raises ValueError."""
  _check_row(fields, row, sidecar["num_classes"] + 1, sidecar)
  votes = tuple(map(int, fields[1:]))
  if min(votes) < 0 or sum(votes) not in (allowed := provenance.allowed_votes(sidecar)):
    raise ValueError(f"the votes sum to {sum(votes)}, none of {reprlib.repr(allowed)}")
  return votes


def _check_row(fields: Sequence[str], row: int, num_columns: int, sidecar: Sidecar):
  indices = sidecar["indices"]
  if len(fields) != num_columns:
    raise ValueError(f"{len(fields)} columns instead of {num_columns}")
  if row >= len(indices):
    raise ValueError(f"more points than the sidecar's {len(indices)}")
  if int(fields[0]) != indices[row]:
    raise ValueError(f"idx {fields[0]}, but the sidecar's next is {indices[row]}")
