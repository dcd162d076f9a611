"""The rows' training sets after the run's defences: `defense/<row>.npz`."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import defended_file, training_sets
from pacd_jax.defenses import chain
from pacd_jax.experiment import bound_file, row_data
from pacd_jax.runtime import processes, progress, run_folder


class DefencePlan(NamedTuple):
  """The defences that are applied to every row's training set before victims see it."""

  chain: Sequence[tuple[str, types.DefenceFn]]  # `(name, defence)`; often empty.
  key: types.Key  # The same for every row.
  tools: Callable[[], types.Tools]


class Defended:
  """The rows' training sets as victims get them; unchanged if the chain is empty.

  Args:
    folder: the run's folder.
    rows: its training sets before the defences.
    plan: the defences.
  """

  def __init__(
    self,
    folder: run_folder.RunFolder,
    rows: row_data.TrainingSets,
    plan: DefencePlan,
  ):
    self._folder, self._rows, self._plan = folder, rows, plan
    self._of_row: dict[str, tuple[types.TrainingSet, str]] = {}

  def is_there(self, row: str) -> bool:
    """Whether victims can be trained on the row."""
    is_made = not self._plan.chain or self._folder.defended(row).exists()
    return is_made and self._rows.is_there(row)

  def split(self, row: str) -> types.TrainingSet:
    """The training set of the row's victims.

    Raises:
      errors.InputError: a file of it is missing, damaged or of another run.
    """
    return self._load(row)[0]

  def checksum(self, row: str) -> str:
    """`training_sets.checksum` of `split(row)`; raises as `split` does."""
    return self._load(row)[1]

  def facts(self, row: str) -> str:
    """Says in a sentence how many images the defences left; "" without a chain."""
    if not self._plan.chain:
      return ""
    before, after = self._rows.split(row).present, self.split(row).present
    return f"Its defences left {len(after)} of {len(before)} images."

  def make(self, row: str) -> None:
    """Applies the defences to the row and writes its two files, unless that is done.

    Raises:
      errors.RefusedError: a defence cannot take the row's training set, or returned one
        that cannot be used.
    """
    if self.is_there(row):
      return
    began = time.monotonic()
    before = self._rows.split(row)
    with errors.refusing():
      after, reports = chain.apply(
        self._plan.chain, before, self._plan.key, self._plan.tools()
      )
    processes.check_same(
      {f"what the defences made of {row}": training_sets.checksum(after)}
    )
    names = [name for name, _ in self._plan.chain]
    attacked = self._rows.attacked(row)
    bound_file.write(
      self._folder.defended(row),
      defended_file.contents(before, after),
      self._folder.fingerprint,
      {
        "row": row,
        "seconds": round(time.monotonic() - began, 6),
        "images_before": len(before.present),
        "images_after": len(after.present),
        "attacked_before": len(attacked),
        "attacked_after": len(np.intersect1d(attacked, after.present)),
        "defences": [
          _report(name, report) for name, report in zip(names, reports, strict=True)
        ],
      },
    )
    progress.note(
      f"defense/{row}: {', then '.join(names)} left {len(after.present)} of "
      f"{len(before.present)} images"
    )

  def _load(self, row: str) -> tuple[types.TrainingSet, str]:
    if not self._plan.chain:
      return self._rows.split(row), self._rows.checksum(row)
    if row not in self._of_row:
      path = self._folder.defended(row)
      after = defended_file.load(path, self._rows.split(row))
      bound_file.check(path, self._folder.fingerprint, defended_file.REMEDY)
      self._of_row[row] = after, training_sets.checksum(after)
    return self._of_row[row]


def _report(name: str, report: types.DefenceReport) -> dict[str, Any]:
  """The report of one defence as JSON values."""
  positions = {
    field: getattr(report, field).tolist() for field in ("removed", "relabelled", "changed")
  }
  values = {key: float(value) for key, value in report.values.items()}
  return {"name": name, **positions, "values": values}
