"""The files of one certified victim: appended point by point, resumed, read back.

`seed_<k>.tsv` has the format of Cohen et al.'s code (github.com/locuslab/smoothing), which
common scripts read; radii are not rounded. `seed_<k>.counts.tsv` holds the votes behind
each line, and the sidecar `seed_<k>.json` says how they were drawn:

  seed_0.tsv          idx  label  predict  radius  correct  time
  seed_0.counts.tsv   idx  0  1  ...  K-1      (the votes behind its bound, by class)
  seed_0.json         mode, sigma, n0, n, alpha, bound, seed, indices, num_classes, ...

The sidecar is sealed (`runtime/sealed.py`) and has a digest of each point's two lines, but
for the time, once a `Writer` has ended; a killed one leaves its last points without.

A point is done once its line in both tables ends in a newline. On resuming, incomplete
lines are cut off. So a resumed file equals that of an uninterrupted run, except that the
last bits of logits may depend on which points share a batch.
"""

import contextlib
import datetime
import hashlib
import json
import os
import reprlib
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from pacd_jax import errors
from pacd_jax.certification import provenance
from pacd_jax.certification.rules.rule import Sidecar, brief
from pacd_jax.runtime import files, sealed

COLUMNS = ("idx", "label", "predict", "radius", "correct", "time")
_POINT = [("idx", "i8"), ("label", "i8"), ("predict", "i8"), ("radius", "f8")]
_RERUN = "rerun --stage=certify"

# The columns, the parsed rows, and the complete lines, of which the first is the header.
_Table = tuple[Sequence[str], list[tuple], list[bytes]]
# Fields of a sidecar that say nothing of how certificates are drawn: not compared.
_OF_FILES = ("stamp", "run", "digests")


class Record(NamedTuple):
  """The certificates of one victim: one entry per point, in the order of the file."""

  idx: np.ndarray  # int64 `[N]`: positions in the test split.
  label: np.ndarray  # int64 `[N]` in [0, K).
  predict: np.ndarray  # int64 `[N]` in [0, K), or -1 for an abstention.
  radius: np.ndarray  # float64 `[N]`: certified l2 radius in image units.
  correct: np.ndarray  # bool `[N]`: predict == label, whatever the radius.
  counts: np.ndarray  # int64 `[N, K]`: rows sum to one of `provenance.allowed_votes`.
  sidecar: Sidecar


class Writer:
  """Appends certificates in a `with` block; existing files are resumed.

  The files hold the first `num_done` points of `sidecar["indices"]`.

  Args:
    path: `DIR/seed_<k>`; the folder is made.
    sidecar: every field of `provenance.FIELDS`, those of its sampling rule, and any
      others; written (atomically) before the first point, and compared with the existing
      sidecar on resuming.

  Raises:
    InputError: existing files cannot be resumed.
  """

  def __init__(self, path: str | os.PathLike, sidecar: Mapping[str, Any]):
    tsv, counts, sidecar_file = _files(path)
    sidecar = {**sidecar, "counts": counts.name}
    text = json.dumps(sidecar, default=lambda x: x.tolist(), allow_nan=False)
    self._sidecar = provenance.checked(json.loads(text))  # As it is read from the file.
    if not (tsv.exists() or sidecar_file.exists()):
      _write_sidecar(sidecar_file, self._sidecar)
    there = _read_sidecar(path)
    _check_same(path, there, self._sidecar)
    points, votes, self.num_done = _read_tables(path, there)
    self._file, self._digests = sidecar_file, _digests(path, there, points, votes)
    with contextlib.ExitStack() as opened:
      self._tsv = opened.enter_context(_opened_at(tsv, points, self.num_done))
      self._counts = opened.enter_context(_opened_at(counts, votes, self.num_done))
      self._opened = opened.pop_all()

  def append(
    self, idx: int, label: int, certificate: tuple[int, float, Any], *, seconds: float
  ):
    """Appends the next point; once this returns, killing the process does not lose it.

    Args:
      idx, label: the sidecar's next index, and that point's class in [0, K).
      certificate: a `types.Certificate`: (class or -1, l2 radius, votes `[K]`).
      seconds: wall time that the point took.

    Raises:
      ValueError: `read` would refuse the point; nothing is written.
    """
    predict, radius, counts = certificate
    time = datetime.timedelta(seconds=seconds)
    point = [idx, label, predict, float(radius), int(predict == label), time]
    point, votes = [str(x) for x in point], [str(int(x)) for x in (idx, *counts)]
    _parse_point(point, self.num_done, self._sidecar)
    _parse_votes(votes, self.num_done, self._sidecar)
    if fault := _radius_fault([predict], [radius], [counts], self._sidecar):
      raise ValueError(fault[1])
    votes, point = _line(votes), _line(point)
    _append(self._counts, votes)  # First: the line in the TSV marks the point as done.
    _append(self._tsv, point)
    self._digests.append(_digest(point, votes))
    self.num_done += 1

  def __enter__(self) -> "Writer":
    return self

  def __exit__(self, *unused_exception):
    self._opened.close()
    _write_sidecar(self._file, self._sidecar | {"digests": self._digests})


def read(path: str | os.PathLike, *, allow_partial: bool = False) -> Record:
  """Reads and checks the files that a `Writer` wrote.

  Args:
    path: `DIR/seed_<k>` or `DIR/seed_<k>.tsv`.
    allow_partial: whether some points may be missing; else all must be done.

  Raises:
    InputError: a file is invalid; the message names the file, the line, what is wrong, and
      what to do.
  """
  sidecar = _read_sidecar(path)
  points, votes, done = _read_tables(path, sidecar)
  if done < (total := len(sidecar["indices"])) and not allow_partial:
    fault = f"only {done} of {total} points are done"
    raise errors.InputError(f"{_files(path)[0]}: {fault}; {_RERUN}")
  point = np.array(points[1][:done], _POINT)
  counts = np.array(votes[1][:done], np.int64).reshape(done, sidecar["num_classes"])
  if fault := _radius_fault(point["predict"], point["radius"], counts, sidecar):
    where = f"{_files(path)[0]}, line {fault[0] + 2}"
    raise errors.InputError(f"{where}: {fault[1]}; delete it, {_RERUN}")
  _digests(path, sidecar, points, votes)
  correct = point["predict"] == point["label"]
  return Record(
    point["idx"],
    point["label"],
    point["predict"],
    point["radius"],
    correct,
    counts,
    {name: value for name, value in sidecar.items() if name != "digests"},
  )


def _radius_fault(predict, radius, counts, sidecar: Sidecar) -> tuple[int, str] | None:
  """The first row whose radius is not the one that its votes support, and an explanation.

  The shapes are: predict `[N]`, radius `[N]`, counts `[N, K]`. None if all rows are right.
  """
  expected = provenance.supported_radius(sidecar, np.array(counts), np.array(predict))
  wrong = ~np.isclose(radius, expected, rtol=1e-6, atol=1e-9)
  if not wrong.any():
    return None
  row = int(np.argmax(wrong))
  support = f"support {expected[row]}" if expected[row] >= 0.0 else "support none"
  return row, f"radius {radius[row]}, but its votes {support}"


def is_complete(path: str | os.PathLike) -> bool:
  """Whether every point that the sidecar lists is in the files; False without files.

  Raises:
    InputError: the files are damaged, as in `read`.
  """
  tsv, _, sidecar = _files(path)
  if not (tsv.exists() or sidecar.exists()):
    return False
  record = read(path, allow_partial=True)
  return len(record.idx) == len(record.sidecar["indices"])


def _files(path: str | os.PathLike) -> tuple[Path, Path, Path]:
  stem = os.fspath(path).removesuffix(".tsv")
  return Path(f"{stem}.tsv"), Path(f"{stem}.counts.tsv"), Path(f"{stem}.json")


def _line(fields: Sequence[str]) -> bytes:
  return "\t".join(fields).encode()


def _append(file: BinaryIO, line: bytes):
  with files.naming(file.name):
    file.write(line + b"\n")
    file.flush()


def _digest(point: bytes, votes: bytes) -> str:
  """Eight hexadecimal digits of a point's lines in both tables, without its time."""
  lines = point.rpartition(b"\t")[0] + b"\n" + votes
  return hashlib.sha256(lines).hexdigest()[:8]


@contextlib.contextmanager
def _opened_at(file: Path, table: _Table, done: int) -> Generator[BinaryIO]:
  """Opens a table to append after its first `done` rows, and cuts off what follows them."""
  columns, _, lines = table
  try:
    opened = file.open("ab")
  except IsADirectoryError as error:
    fault = f"{file} cannot be written ({error.strerror})"
    raise errors.InputError(f"{fault}; delete it, {_RERUN}") from None
  with files.naming(file), opened:  # Closing it writes, too.
    opened.truncate(sum(len(line) + 1 for line in lines[: done + 1]))
    if not lines:
      _append(opened, _line(columns))
    yield opened


def _read_tables(path, sidecar: Sidecar) -> tuple[_Table, _Table, int]:
  """Both tables, and the number of points that are complete in both."""
  tsv, counts, _ = _files(path)
  points = _read_table(tsv, COLUMNS, _parse_point, sidecar)
  votes = ("idx", *map(str, range(sidecar["num_classes"]))), [], []
  if points[1]:  # Votes without points are useless, and may be from another run.
    votes = _read_table(counts, votes[0], _parse_votes, sidecar)
  return points, votes, min(len(points[1]), len(votes[1]))


def _digests(path, sidecar: Sidecar, points: _Table, votes: _Table) -> list[str]:
  """The digest of each point that both tables have; raises if a line has changed."""
  lines = zip(points[2][1:], votes[2][1:], strict=False)
  found = [_digest(*pair) for pair in lines]
  there = zip(found, sidecar.get("digests", ()), strict=False)
  for number, (digest, written) in enumerate(there, start=2):
    if digest != written:
      fault = f"{_files(path)[0]}, line {number}: it, or its votes, have changed"
      raise errors.InputError(f"{fault} since; delete it, {_RERUN}")
  return found


def _read_table(
  file: Path, columns: Sequence[str], parse: Callable[..., tuple], sidecar: Sidecar
) -> _Table:
  """Parses the complete lines; raises InputError at the first invalid one."""
  contents = files.read_bytes(file) if file.exists() else b""
  *lines, half_line = contents.split(b"\n")
  header, rows = _line(columns), []
  for number, line in enumerate(lines or [half_line], start=1):
    try:
      if number > 1:
        fields = line.decode(errors="replace").split("\t")
        rows.append(parse(fields, number - 2, sidecar))
      elif line != (header if lines else header[: len(line)]):
        raise ValueError(f"the header is not {reprlib.repr(header.decode())}")
    except ValueError as error:
      fault = f"{file}, line {number}: {error}"
      raise errors.InputError(f"{fault}; delete it, {_RERUN}") from None
  return columns, rows, lines


def _parse_point(fields: Sequence[str], row: int, sidecar: Sidecar) -> tuple:
  _check_row(fields, row, len(COLUMNS), sidecar)
  label, predict, radius = int(fields[1]), int(fields[2]), float(fields[3])
  if not (0 <= label < sidecar["num_classes"] > predict >= -1):
    raise ValueError(f"label {label} or predict {predict} is none of the classes")
  if not 0.0 <= radius < float("inf"):
    raise ValueError(f"radius {radius} is not a finite number >= 0")
  if int(fields[4]) != (predict == label):
    raise ValueError(f"correct {fields[4]}, but label {label} and predict {predict}")
  return int(fields[0]), label, predict, radius


def _parse_votes(fields: Sequence[str], row: int, sidecar: Sidecar) -> tuple:
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


def _read_sidecar(path) -> Sidecar:
  tsv, _, file = _files(path)
  if not file.exists():
    fault = f"has no sidecar {file.name}; delete it" if tsv.exists() else "no such file"
    raise errors.InputError(f"{tsv}: {fault}, {_RERUN}")
  try:
    return provenance.checked(sealed.parse(files.read_bytes(file)))
  except (ValueError, TypeError) as error:
    raise _bad_sidecar(path, f"not a sidecar ({error})") from None


def _write_sidecar(file: Path, sidecar: Sidecar):
  text = json.dumps(sealed.seal(sidecar), allow_nan=False) + "\n"
  files.write_text(file, text)


def _check_same(path, then: Sidecar, now: Sidecar):
  """Raises InputError unless both sidecars have the same fields with the same values.

  What made them is not compared here but in the run's folder.
  """
  names = sorted((then.keys() | now.keys()) - {*_OF_FILES})
  changes = [
    f"{name} was {brief(then.get(name))}, now {brief(now.get(name))}"
    for name in names
    if then.get(name) != now.get(name)
  ]
  if changes:
    raise _bad_sidecar(path, f"made with other settings ({', '.join(changes)})")


def _bad_sidecar(path, fault: str) -> errors.InputError:
  tsv, _, file = _files(path)
  return errors.InputError(f"{file}: {fault}; delete it and {tsv.name}, {_RERUN}")
