"""What one run is made of: functions and plain values, as `door.build` makes them.

Its methods name what the run's files carry, so that another run's are told from its own.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from pacd_jax import train, types
from pacd_jax.attacks import pacd, problem, surrogates
from pacd_jax.certification import certify
from pacd_jax.data import arrays
from pacd_jax.experiment import defended, kinds, row_data
from pacd_jax.experiment.config import Config
from pacd_jax.runtime import checkpoint, run_folder, sharding


class Budget(NamedTuple):
  """Of every poison that a run makes."""

  epsilon: float  # In image units,
  norm: str  # "linf" or "l2".


class TrainPlan(NamedTuple):
  """How the victims of every row are trained."""

  trainer: train.Trainer
  keys: types.Key  # `[S]`, one for each victim of a row.
  num_epochs: int  # On each row's training split,
  recovery_epochs: int  # and then on the clean one: a fine-tune as a defence.
  batch_size: int
  save_every: int
  mesh: jax.sharding.Mesh  # Each device has its share of the victims.

  @property
  def total_epochs(self) -> int:
    return self.num_epochs + self.recovery_epochs


class CertifyPlan(NamedTuple):
  """How the victims are certified."""

  split: str  # "test", or "validation" for tuning.
  dataset: types.Dataset  # That split.
  settings: certify.Settings
  indices: np.ndarray  # `[M]`: its points, the same for all victims.
  key: types.Key  # Victim k uses `fold_in(key, k)`, in every row.


class SelectionPlan(NamedTuple):
  """How the attack chooses among its poisons: by fresh surrogates, on what it sees.

  That is validation points of the class, or the target points where there are some.
  """

  every: int  # Outer steps between candidates; 0: the last of each start.
  corners: bool  # Whether that at the corners of the budget is one, too.
  train: TrainPlan  # As the attacker assumes that victims are.
  certify: CertifyPlan


class AttackPlan(NamedTuple):
  """The attack with its data and its place in a loop."""

  attack: pacd.Attack
  attack_data: Callable[[], problem.AttackData]  # Put on a device at the first call.
  key: types.Key
  # First perturbations by name, `[1 or n, H, W, C]`; None: zero.
  starts: Mapping[str, Callable[[], types.Array | None]]
  clean_starts: tuple[str, ...]  # Those that are no poison by themselves.
  mesh: jax.sharding.Mesh  # Each device has its share of every batch, and all else whole.
  num_steps: int  # From each start.
  is_shared: bool  # Whether the class shares one perturbation to the last of them.
  restart_every: int
  num_surrogates: int
  save_every: int
  uses_sigma: bool  # Whether the attack knows of noise: a poison says for which sigma.
  # `remedy(min_curvature)`: what to do where a matrix is not positive definite; None: its
  # hypergradient does not need one.
  remedy: Callable[[float], str] | None
  selection: SelectionPlan | None  # None: one start's last poison is taken.

  def due(self, number: int) -> list[tuple[int, int]]:
    """The surrogates to restart before an outer step, and their ages in outer steps."""
    return surrogates.due(
      number, restart_every=self.restart_every, num_surrogates=self.num_surrogates
    )

  def first_state(self, start: str = "") -> pacd.AttackState:
    """Where a start begins, by default the first; on the mesh."""
    make = self.starts[start or next(iter(self.starts))]
    state = self.attack.init(self.attack_data(), self.key, make())
    return sharding.replicate(state, self.mesh)


@dataclasses.dataclass(frozen=True)
class Plan:
  """One run, ready to start."""

  config: Config
  folder: run_folder.RunFolder
  splits: types.Splits
  model: types.Model
  model_name: str
  training: str  # The victims' loss, by name, and what else is not usual; for readers.
  rows: tuple[str, ...]
  budget: Budget
  target_class: int
  poisoned: np.ndarray  # int64 `[n]`: its training images that every attack changes.
  sigma: float
  # Row -> its poison before rounding.
  baselines: Mapping[str, Callable[[], np.ndarray | kinds.Poisoned]]
  poisons: Mapping[str, str]  # Row -> a poison from elsewhere: a file, or a run's folder.
  attack: AttackPlan
  defense: defended.DefencePlan
  train: TrainPlan
  certify: CertifyPlan

  @functools.cached_property
  def training_sets(self) -> row_data.TrainingSets:
    """The training split of every row, before the defences."""
    identity = self.budget._asdict() | {
      "target_class": self.target_class,
      "sigma": self.sigma if self.attack.uses_sigma else 0.0,
    }
    return row_data.TrainingSets(
      self.folder, self.splits, self.poisoned, identity, self.poisons
    )

  @functools.cached_property
  def defended(self) -> defended.Defended:
    """What the victims of every row are trained on."""
    return defended.Defended(self.folder, self.training_sets, self.defense)

  @property
  def seeds(self) -> range:
    """The victims of each row: 0 to S - 1."""
    return range(len(self.train.keys))

  def victims(self) -> tuple[types.Array, types.Key]:
    """Row number and key of all victims, each `[R * S]`: row after row."""
    return train.every_row(self.train.keys, len(self.rows))

  def attack_checkpoints(self) -> checkpoint.Checkpoints:
    folder = self.folder
    return checkpoint.Checkpoints(folder.checkpoints("attack"), folder.fingerprint)

  def victim_checkpoints(self) -> checkpoint.Checkpoints:
    """Checkpoints of all victims, bound to the data that they are trained on."""
    checksums = [self.defended.checksum(row) for row in self.rows]
    return checkpoint.Checkpoints(
      self.folder.checkpoints("train"), " ".join([self.folder.fingerprint, *checksums])
    )

  @functools.cached_property
  def _certified_on(self) -> str:
    return arrays.checksum(self.certify.dataset)

  def certify_key(self, seed: int) -> types.Key:
    return jax.random.fold_in(self.certify.key, seed)

  def certificate_identity(self, row: str, seed: int) -> dict[str, Any]:
    """The fields that a sidecar of this run carries, apart from what is measured."""
    return certify.described(self.certify.settings) | {
      "seed": seed,
      "indices": self.certify.indices.tolist(),
      "key": jax.random.key_data(self.certify_key(seed)).tolist(),
      "model": self.model_name,
      "dataset": self.splits.name,
      "data": self.splits.description,
      "split": self.certify.split,
      "certified_on": self._certified_on,
      "trained_on": self.defended.checksum(row),
    }
