"""The files of certificates against poisoning, written whole and read back.

  seed_0.tsv          idx  label  predict  radius  correct  time
  seed_0.votes.npz    orders, uint8 [N, M, D]: the first D classes of each of M networks
  seed_0.json         aggregation, unit, num_models, seed, the digests of both, ...

The columns are those of certificates of randomized smoothing. The radius is a number of
changed training images (`unit` says of which change) or of changed labels, or the l2 norm
of all changes; time is a point's share of the pass. Where nothing has voted, there is no
file of votes. The sidecar is written last: a set of files without it is not there.
"""

import datetime
import hashlib
import io
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from pacd_jax import errors
from pacd_jax.certification import certificate_tables as tables
from pacd_jax.data import npz_arrays
from pacd_jax.runtime import files, run_folder

_ORDERS = "orders"
_ENDINGS = (".tsv", ".votes.npz", ".json")


class Record(NamedTuple):
  """The certificates of one victim against poisoning, of N test points."""

  idx: np.ndarray  # int64 `[N]`: positions in the split.
  label: np.ndarray  # int64 `[N]`.
  predict: np.ndarray  # int64 `[N]`, or -1 for an abstention.
  radius: np.ndarray  # float64 `[N]`, at least 0, in `sidecar["unit"]`.
  sidecar: dict[str, Any]

  @property
  def radius_of_truth(self) -> np.ndarray:
    """The radius where the prediction is right, -1 elsewhere: `[N]`."""
    return np.where(self.predict == self.label, self.radius, -1.0)


def paths(path: str | os.PathLike) -> tuple[pathlib.Path, pathlib.Path, pathlib.Path]:
  """The table, the votes and the sidecar of `DIR/seed_<k>`."""
  stem = os.fspath(path).removesuffix(".tsv")
  table, votes, file = (pathlib.Path(stem + end) for end in _ENDINGS)
  return table, votes, file


def write(
  path: str | os.PathLike,
  *,
  idx: np.ndarray,
  label: np.ndarray,
  predict: np.ndarray,
  radius: np.ndarray,
  orders: np.ndarray | None,
  sidecar: Mapping[str, Any],
  seconds: float,
) -> None:
  """Writes the files of one victim; each is written beside, then renamed.

  Args:
    path: `DIR/seed_<k>`; the folder is made.
    idx, label, predict, radius: `[N]`, as in `Record`.
    orders: uint8 `[N, M, D]`, each network's first classes; None: nothing has voted.
    sidecar: fields that JSON can hold.
    seconds: wall time of all points.
  """
  table, votes, file = paths(path)
  table.parent.mkdir(parents=True, exist_ok=True)
  time = datetime.timedelta(seconds=seconds / max(len(idx), 1))
  lines = [tables.line_of(tables.COLUMNS)]
  for each in zip(idx, label, predict, radius, strict=True):
    place, truth, guess, size = each
    fields = (place, truth, guess, float(size), int(truth == guess), time)
    lines.append(tables.line_of([str(value) for value in fields]))
  contents = b"\n".join(lines) + b"\n"
  digests = {"table": _digest(_without_times(contents))}
  if orders is not None:
    npz_arrays.save(votes, {_ORDERS: orders})
    digests["votes"] = _digest(files.read_bytes(votes))
  files.write(table, contents)
  run_folder.write_json(file, {**sidecar, "digests": digests})


def is_there(path: str | os.PathLike) -> bool:
  """Whether a victim's certificates are complete."""
  return paths(path)[2].exists()


def read(path: str | os.PathLike, *, rerun: str = tables.RERUN) -> Record:
  """Reads and checks the table and the sidecar.

  Args:
    path: `DIR/seed_<k>`.
    rerun: what makes them again, for messages.

  Raises:
    errors.InputError: a file is missing, damaged or changed: names it, and what to do.
  """
  table, _, file = paths(path)
  sidecar = run_folder.read_json(file)
  contents = _checked(table, sidecar, "table", _remedy(file, rerun))
  rows = np.loadtxt(
    io.BytesIO(contents), delimiter="\t", skiprows=1, usecols=range(4), ndmin=2
  )
  rows = rows.reshape(-1, 4)
  whole = rows[:, :3].astype(np.int64)
  rest = {name: value for name, value in sidecar.items() if name != "digests"}
  return Record(whole[:, 0], whole[:, 1], whole[:, 2], rows[:, 3], rest)


def read_orders(path: str | os.PathLike) -> np.ndarray:
  """Reads the votes, uint8 `[N, M, D]`; raises as `read` does."""
  _, votes, file = paths(path)
  remedy = _remedy(file, tables.RERUN)
  _checked(votes, run_folder.read_json(file), "votes", remedy)
  try:
    return npz_arrays.read(votes, [_ORDERS])[_ORDERS]
  except (npz_arrays.DamagedError, KeyError) as error:
    raise errors.InputError(f"{votes} is damaged ({error}): {remedy}") from None


def read_all(folder: str | os.PathLike) -> list[Record]:
  """Reads all victims of a row, by rising seed; empty without any; raises as `read`."""
  sidecars = sorted(pathlib.Path(folder).glob("seed_*.json"))
  records = [read(path.with_suffix("")) for path in sidecars]
  return sorted(records, key=lambda record: record.sidecar["seed"])


def _checked(
  path: pathlib.Path, sidecar: Mapping[str, Any], name: str, remedy: str
) -> bytes:
  if not path.exists():
    raise errors.InputError(f"{path} is missing: {remedy}")
  contents = files.read_bytes(path)
  digests = sidecar.get("digests")
  same = _digest(contents if name == "votes" else _without_times(contents))
  if not isinstance(digests, Mapping) or digests.get(name) != same:
    raise errors.InputError(f"{path} has changed since it was written: {remedy}")
  return contents


def _remedy(file: pathlib.Path, rerun: str) -> str:
  return f"delete {file}, and {rerun}"


def _without_times(table: bytes) -> bytes:
  """The table without its last column, so that equal certificates have equal digests."""
  return b"\n".join(line.rpartition(b"\t")[0] for line in table.split(b"\n"))


def _digest(contents: bytes) -> str:
  return hashlib.sha256(contents).hexdigest()
