"""The files of one certified victim: appended point by point, resumed, read back.

`seed_<k>.tsv` has the format of Cohen et al.'s code (github.com/locuslab/smoothing), which
common scripts read; radii are not rounded. `seed_<k>.counts.tsv` holds the votes behind
each line, and the sidecar `seed_<k>.json` says how they were drawn:

  seed_0.tsv          idx  label  predict  radius  correct  time
  seed_0.counts.tsv   idx  0  1  ...  K-1      (the votes behind its bound, by class)
  seed_0.json         mode, sigma, n0, n, alpha, bound, seed, indices, num_classes, ...

The certificates of a deterministic procedure have no table of votes, and their sidecar says
`procedure`, norm, epsilon, most, ... (`deterministic.Verification`).

The sidecar is sealed (`runtime/sealed.py`) and has a digest of each point's two lines, but
for the time, once a `Writer` has ended; a killed one leaves its last points without.

A point is done once its line in both tables ends in a newline. On resuming, incomplete
lines are cut off. So a resumed file equals that of an uninterrupted run, except that the
last bits of logits may depend on which points share a batch.
"""

import contextlib
import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pacd_jax import errors
from pacd_jax.certification import certificate_tables as tables
from pacd_jax.certification import provenance
from pacd_jax.certification.rules.rule import Sidecar, brief
from pacd_jax.runtime import files, sealed

_POINT = [("idx", "i8"), ("label", "i8"), ("predict", "i8"), ("radius", "f8")]

# Fields of a sidecar that say nothing of how certificates are drawn: not compared.
_OF_FILES = ("stamp", "run", "digests")


class Record(NamedTuple):
  """The certificates of one victim: one entry per point, in the order of the file."""

  idx: np.ndarray  # int64 `[N]`: positions in the test split.
  label: np.ndarray  # int64 `[N]` in [0, K).
  predict: np.ndarray  # int64 `[N]` in [0, K), or -1 for an abstention.
  radius: np.ndarray  # float64 `[N]`: certified l2 radius in image units.
  correct: np.ndarray  # bool `[N]`: predict == label, whatever the radius.
  # int64 `[N, K]`: rows sum to one of `provenance.allowed_votes`; `[N, 0]` without votes.
  counts: np.ndarray
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
    tsv, counts, sidecar_file = tables.paths(path)
    self._has_votes = provenance.has_votes(sidecar)
    if self._has_votes:
      sidecar = {**sidecar, "counts": counts.name}
    text = json.dumps(sidecar, default=lambda x: x.tolist(), allow_nan=False)
    self._sidecar = provenance.checked(json.loads(text))  # As it is read from the file.
    if not (tsv.exists() or sidecar_file.exists()):
      _write_sidecar(sidecar_file, self._sidecar)
    there = _read_sidecar(path)
    _check_same(path, there, self._sidecar)
    points, votes, self.num_done = tables.read_both(path, there)
    self._file, self._digests = sidecar_file, tables.digests(path, there, points, votes)
    with contextlib.ExitStack() as opened:
      self._tsv = opened.enter_context(tables.opened_at(tsv, points, self.num_done))
      if self._has_votes:
        self._counts = opened.enter_context(tables.opened_at(counts, votes, self.num_done))
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
    tables.parse_point(point, self.num_done, self._sidecar)
    if self._has_votes:
      tables.parse_votes(votes, self.num_done, self._sidecar)
    if fault := _radius_fault([predict], [radius], [counts], self._sidecar):
      raise ValueError(fault[1])
    point, votes = tables.line_of(point), tables.line_of(votes if self._has_votes else ())
    if self._has_votes:  # First: a line in the TSV says the point is done.
      tables.append(self._counts, votes)
    tables.append(self._tsv, point)
    self._digests.append(tables.digest(point, votes))
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
  points, votes, done = tables.read_both(path, sidecar)
  if done < (total := len(sidecar["indices"])) and not allow_partial:
    fault = f"only {done} of {total} points are done"
    raise errors.InputError(f"{tables.paths(path)[0]}: {fault}; {tables.RERUN}")
  point = np.array(points[1][:done], _POINT)
  num_columns = sidecar["num_classes"] if provenance.has_votes(sidecar) else 0
  counts = np.array(votes[1][:done], np.int64).reshape(done, num_columns)
  if fault := _radius_fault(point["predict"], point["radius"], counts, sidecar):
    where = f"{tables.paths(path)[0]}, line {fault[0] + 2}"
    raise errors.InputError(f"{where}: {fault[1]}; delete it, {tables.RERUN}")
  tables.digests(path, sidecar, points, votes)
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

  Without votes: whose radius is above the largest that was looked for, or whose class was
  withheld. The shapes are: predict `[N]`, radius `[N]`, counts `[N, K]`. None if all rows
  are right.
  """
  if not provenance.has_votes(sidecar):
    wrong = (np.array(radius) > sidecar["most"]) | (np.array(predict) < 0)
    if not wrong.any():
      return None
    row, most = int(np.argmax(wrong)), sidecar["most"]
    fault = f"radius {radius[row]} of class {predict[row]}, but radii are at most {most}"
    return row, f"{fault}, and no class is withheld"
  expected = provenance.supported_radius(sidecar, np.array(counts), np.array(predict))
  wrong = ~np.isclose(radius, expected, rtol=1e-6, atol=1e-9)
  if not wrong.any():
    return None
  row = int(np.argmax(wrong))
  support = f"support {expected[row]}" if expected[row] >= 0.0 else "support none"
  return row, f"radius {radius[row]}, but its votes {support}"


def is_complete(path: str | os.PathLike) -> bool:
  """Whether every point is in the files, and they are closed; False without files.

  Raises:
    InputError: the files are damaged, as in `read`.
  """
  tsv, _, sidecar = tables.paths(path)
  if not (tsv.exists() or sidecar.exists()):
    return False
  record = read(path, allow_partial=True)
  return len(record.idx) == len(record.sidecar["indices"]) and is_closed(path)


def is_closed(path: str | os.PathLike) -> bool:
  """Whether the sidecar has the digests, which a `Writer` writes last.

  Those of earlier versions have none, and name no run.
  """
  sidecar = _read_sidecar(path)
  return "digests" in sidecar or "run" not in sidecar


def _read_sidecar(path) -> Sidecar:
  tsv, _, file = tables.paths(path)
  if not file.exists():
    fault = f"has no sidecar {file.name}; delete it" if tsv.exists() else "no such file"
    raise errors.InputError(f"{tsv}: {fault}, {tables.RERUN}")
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
  tsv, _, file = tables.paths(path)
  return errors.InputError(f"{file}: {fault}; delete it and {tsv.name}, {tables.RERUN}")
