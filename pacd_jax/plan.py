"""What one run is made of: functions and plain values, as `experiment.build` makes them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pacd_jax import run_folder, train, types
from pacd_jax.attacks import pacd


class AttackPlan(NamedTuple):
  """The attack with its data and its place in a loop."""

  attack: pacd.Attack
  attack_data: pacd.AttackData
  key: types.Key
  start: types.Array | None  # The first perturbation, `[1 or n, H, W, C]`; None: zero.
  num_steps: int
  restart_every: int
  save_every: int

  def first_state(self) -> pacd.AttackState:
    return self.attack.init(self.attack_data, self.key, self.start)


class TrainPlan(NamedTuple):
  """How the victims of one row are trained."""

  trainer: train.Trainer
  keys: types.Key  # `[S]`, one for each victim.
  num_epochs: int
  save_every: int


class CertifyPlan(NamedTuple):
  """How the victims are certified."""

  split: str  # "test", or "validation" for tuning.
  dataset: types.Dataset  # That split.
  options: dict[str, Any]  # sigma, n0, n, alpha, batch_size of `certify`.
  indices: np.ndarray  # `[M]`: its points, the same for all victims.
  key: types.Key  # Victim k uses `fold_in(key, k)`, in every row.


class Plan(NamedTuple):
  """One run, ready to start."""

  folder: run_folder.RunFolder
  splits: types.Splits
  model: types.Model
  model_name: str
  training: str  # The victims' loss, by name.
  rows: tuple[str, ...]
  budget: dict[str, Any]  # epsilon and norm.
  target_class: int
  sigma: float
  baselines: dict[str, Callable[[], np.ndarray]]  # Row -> images before rounding.
  attack: AttackPlan
  train: TrainPlan
  certify: CertifyPlan
