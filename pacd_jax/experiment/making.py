"""What the rows' poisons are made with: the run's data, budget, keys and surrogate."""

import dataclasses
import zlib
from collections.abc import Callable

import jax
import numpy as np

from pacd_jax import types
from pacd_jax.attacks import problem
from pacd_jax.experiment import kinds
from pacd_jax.runtime import metrics, progress

TRAIN, CERTIFY = 2, 3  # Random streams of a run beside those of its rows.


@dataclasses.dataclass(frozen=True)
class Tools:
  """`kinds.RowTools` of one row of one run."""

  row: str
  splits: types.Splits
  target_class: int
  poisoned: np.ndarray
  key: types.Key
  epsilon: float
  norm: str
  attack_settings: Callable[[], problem.Settings]
  attack_data: Callable[[], problem.AttackData]

  def watch(self, total: int, unit: str) -> Callable[[int, types.Aux], None]:
    """Checks that losses are finite, and shows how far the row's attack is."""
    stage = f"attack/{self.row}"
    shown = progress.Progress(stage, total, unit=unit)

    def on_part(done, values):
      values = {name: float(value) for name, value in values.items()}
      metrics.check_finite(stage, done, values)
      shown.update(done, f"loss {values['loss']:.4g}")

    return on_part


def row_key(root: types.Key, entry: kinds.Row) -> types.Key:
  """The row's own key, folded from the run's: by its stream, or else by its name."""
  stream = entry.stream
  if stream is None:
    stream = 2**31 + zlib.crc32(entry.name.encode()) % 2**31
  return jax.random.fold_in(root, stream)
