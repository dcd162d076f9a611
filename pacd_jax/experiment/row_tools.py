"""The inputs of a row's attack: the run's data, budget, key and surrogate."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pacd_jax import types
from pacd_jax.attacks import problem
from pacd_jax.models import last_layer
from pacd_jax.runtime import metrics, progress


class Poisoned(NamedTuple):
  """Training images as an attack changes them; fields that are None are unchanged."""

  images: np.ndarray  # float `[n, H, W, C]` in [0, 1] and in the budget, not yet rounded.
  labels: np.ndarray | None = None  # int `[n]`.
  # int `[n]` into the training split; -1: no base image, needs labels; None: `poisoned`.
  indices: np.ndarray | None = None
  inserted: np.ndarray | None = None  # bool `[n]`: beside its base, not in its place.
  triggered: np.ndarray | None = None  # bool `[n]`: it carries the trigger of the goal.
  goal: types.Goal | None = None  # What the attacker wants of test images.


@dataclasses.dataclass(frozen=True)
class RowTools:
  """The inputs of one row's attack, in one run."""

  row: str
  splits: types.Splits
  target_class: int
  poisoned: np.ndarray  # int64 `[n]`: the training images to change, in order.
  key: types.Key  # The row's own.
  epsilon: float  # The budget, image units,
  norm: str  # in this norm.
  # The attacker's model of the victim, and the budget.
  attack_settings: Callable[[], problem.Settings]
  # What the attacker sees, on the device.
  attack_data: Callable[[], problem.AttackData]
  # `clean_network(k, num_steps)`: the attacker's k-th network of clean images, the same
  # for every row.
  clean_network: Callable[[int, int], types.Params]
  # The network whose features the victims keep; None: they are trained from scratch.
  frozen: last_layer.Frozen | None = None

  def watch(self, total: int, unit: str) -> Callable[[int, types.Aux], None]:
    """Makes `on_part(done, {"loss": ...})`: shows progress; raises if not finite."""
    return watch(f"attack/{self.row}", total, unit)


def watch(stage: str, total: int, unit: str) -> Callable[[int, types.Aux], None]:
  """Makes `on_part(done, {"loss": ...})` of a stage: likewise."""
  shown = progress.Progress(stage, total, unit=unit)

  def on_part(done, values):
    values = {name: float(value) for name, value in values.items()}
    metrics.check_finite(stage, done, values)
    shown.update(done, f"loss {values['loss']:.4g}")

  return on_part
