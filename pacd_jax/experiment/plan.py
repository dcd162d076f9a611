"""The plan of one run: functions and plain values, as `door.build` makes them.

Its methods give the fields that the run's files carry, which tell them from another run's.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import train, types
from pacd_jax.attacks import pacd, problem, surrogates
from pacd_jax.certification import certify
from pacd_jax.certification import procedure as _procedure
from pacd_jax.data import arrays
from pacd_jax.defenses.transforms import denoise
from pacd_jax.experiment import defended, early_stopping, ensembles, kinds, row_data
from pacd_jax.experiment.config import Config
from pacd_jax.models import denoiser, last_layer
from pacd_jax.runtime import checkpoint, metrics, run_folder, sharding, tensorboard


class Budget(NamedTuple):
  """The budget of every poison that a run makes."""

  epsilon: float  # In image units.
  norm: str  # "linf" or "l2".


class TrainPlan(NamedTuple):
  """The plan for training the victims of every row."""

  trainer: train.Trainer
  keys: types.Key  # `[S]`, one for each victim of a row.
  num_epochs: int  # On each row's training split,
  recovery_epochs: int  # and then on the clean one: a fine-tune as a defence.
  batch_size: int
  save_every: int
  mesh: jax.sharding.Mesh  # The victims are sharded over it.
  frozen: last_layer.Frozen | None = None  # Whose features they keep; None: all trained.

  @property
  def total_epochs(self) -> int:
    return self.num_epochs + self.recovery_epochs

  def first(self, keys: types.Key, decays: np.ndarray | None = None) -> train.TrainState:
    """Victims before their first epoch; decays `[V]` are their own, if they differ."""
    state = self.trainer.init(keys)
    if decays is None:
      return state
    decays = np.asarray(decays, np.float32)
    return state._replace(opt_state=optax.tree.set(state.opt_state, weight_decay=decays))

  def on_features(self, state: train.TrainState) -> train.TrainState:
    """The state with the layers that all victims keep, if they do; trains them first."""
    if self.frozen is None:
      return state
    kept = jax.tree.map(
      lambda one, all_of_them: jnp.broadcast_to(one, all_of_them.shape),
      self.frozen.params(),
      state.params,
    )
    params = last_layer.joined(self.frozen.is_last, kept, state.params)
    return state._replace(params=params)


class DenoiserPlan(NamedTuple):
  """The plan for the denoisers of all victims, behind which these are certified."""

  name: str  # Of their loss.
  poisons: str  # What is trained on a row's set: "both", "classifier" or "denoiser".
  network: denoiser.Denoiser
  classifier: types.Model  # What stands behind it.
  sees_victim: bool  # Whether its loss sees the victim that it is of.
  train: TrainPlan
  surrogates: TrainPlan | None  # Other classifiers that its loss sees; None: it sees none.
  settings: denoise.Settings  # Its noise and size, by which it is tested,
  test_key: types.Key  # under this noise.


class DecayPlan(NamedTuple):
  """The plan for choosing the weight decay of every row by cross-validation."""

  choices: tuple[float, ...]
  train: TrainPlan  # One victim for each fold; without epochs of recovery.
  # `accuracy(params, images, labels, key)`: the training loss's.
  accuracy: Callable[..., types.Scalar]
  key: types.Key


class CertifyPlan(NamedTuple):
  """The plan for certifying the victims."""

  split: str  # "test", or "validation" for tuning.
  dataset: types.Dataset  # The images and labels of that split.
  settings: certify.Settings  # Of votes; a procedure that draws none uses none of them.
  indices: np.ndarray  # `[M]`: the points of it that are certified, for all victims.
  key: types.Key  # Victim k uses `fold_in(key, k)`, in every row.
  procedure: _procedure.Procedure

  def identity(self, indices: np.ndarray, key: types.Key) -> dict[str, Any]:
    """The fields of a sidecar that say how points are certified, and which."""
    own = {"indices": indices.tolist()}
    if self.procedure.draws:
      own["key"] = jax.random.key_data(key).tolist()
    return self.procedure.described() | own


class SelectionPlan(NamedTuple):
  """The plan for choosing among the attack's poisons, by the ACR of fresh surrogates.

  They are certified on what the attack sees: validation points of the class, or the target
  points if there are any.
  """

  every: int  # Outer steps between candidates; 0: the last of each start.
  corners: bool  # Whether the last poison, moved to the budget's corners, is one.
  rows: tuple[str, ...]  # Baselines whose poisons are candidates, too.
  model: types.Model  # The victims' classifier as the attacker assumes it,
  # and what it assumes that they do to a training set.
  defend: Callable[[types.TrainingSet], types.TrainingSet]
  train: TrainPlan  # The victims as the attacker assumes them.
  at_once: int  # How many of them are trained together.
  certify: CertifyPlan


class AttackPlan(NamedTuple):
  """The attack, its data, and the settings of its loop."""

  attack: pacd.Attack
  attack_data: Callable[[], problem.AttackData]  # Put on a device at the first call.
  key: types.Key
  # First perturbations by name, `[1 or n, H, W, C]`; None: zero.
  starts: Mapping[str, Callable[[], types.Array | None]]
  clean_starts: tuple[str, ...]  # Starts that are no poison by themselves.
  mesh: jax.sharding.Mesh  # Every batch is sharded over it, all else is replicated.
  num_steps: int  # From each start.
  is_shared: bool  # Whether the class shares one perturbation in all of these.
  restart_every: int
  num_surrogates: int
  save_every: int
  uses_sigma: bool  # Whether the attack uses sigma, which its poisons then carry.
  # `remedy(min_curvature)`: advice on a matrix that is not positive definite; None: the
  # hypergradient does not need it to be.
  remedy: Callable[[float], str] | None
  selection: SelectionPlan | None  # None: the only start's last poison is kept.

  def due(self, number: int) -> list[tuple[int, int]]:
    """The surrogates to restart before an outer step, and their ages in outer steps."""
    return surrogates.due(
      number, restart_every=self.restart_every, num_surrogates=self.num_surrogates
    )

  def first_state(self, start: str = "") -> pacd.AttackState:
    """The state in which a start, by default the first, begins; replicated on the mesh."""
    make = self.starts[start or next(iter(self.starts))]
    init = jax.jit(self.attack.init)  # One program, where its operations are a hundred.
    return sharding.replicate(init(self.attack_data(), self.key, make()), self.mesh)


@dataclasses.dataclass(frozen=True)
class Plan:
  """One run, ready to start."""

  config: Config
  folder: run_folder.RunFolder
  splits: types.Splits
  model: types.Model
  model_name: str
  training: str  # For readers: the victims' loss by name, and what is unusual.
  rows: tuple[str, ...]
  budget: Budget
  target_class: int
  poisoned: np.ndarray  # int64 `[n]`: the training images that every attack changes.
  sigma: float
  # Row -> makes its poison, not yet rounded.
  baselines: Mapping[str, Callable[[], np.ndarray | kinds.Poisoned]]
  poisons: Mapping[str, str]  # Row -> a poison from elsewhere: a file, or a run's folder.
  attack: AttackPlan
  defense: defended.DefencePlan
  train: TrainPlan
  certify: CertifyPlan
  stopping: early_stopping.Stopping | None  # None: victims' last epoch is kept.
  decay: DecayPlan | None  # None: all victims have the config's.
  ensemble: ensembles.EnsemblePlan | None = None  # None: a victim is one network.
  denoiser: DenoiserPlan | None = None  # None: victims are certified as they are.

  @functools.cached_property
  def training_sets(self) -> row_data.TrainingSets:
    """The training split of every row, before the defences."""
    identity = self.budget._asdict() | {
      "target_class": self.target_class,
      "sigma": self.sigma if self.attack.uses_sigma else 0.0,
    }
    unbounded = [row.name for row in kinds.ROWS if not row.is_bounded]
    return row_data.TrainingSets(
      self.folder, self.splits, self.poisoned, identity, self.poisons, unbounded
    )

  @functools.cached_property
  def defended(self) -> defended.Defended:
    """The training set of every row's victims, after the defences."""
    return defended.Defended(self.folder, self.training_sets, self.defense)

  def classifier_row(self, row: str) -> str:
    """The row on whose training set the classifiers of a row are trained."""
    alone = self.denoiser is not None and self.denoiser.poisons == "denoiser"
    return types.CLEAN if alone else row

  def denoiser_row(self, row: str) -> str:
    """The row on whose training set the denoisers of a row are trained."""
    alone = self.denoiser is not None and self.denoiser.poisons == "classifier"
    return types.CLEAN if alone else row

  @property
  def classifier_rows(self) -> tuple[str, ...]:
    """The rows that classifiers train on: clean alone if just denoisers are poisoned."""
    return tuple(dict.fromkeys(map(self.classifier_row, self.rows)))

  def sources(self, row: str) -> tuple[str, ...]:
    """The rows whose training sets a row's victims are made of, each once."""
    of_denoiser = () if self.denoiser is None else (self.denoiser_row(row),)
    return tuple(dict.fromkeys((self.classifier_row(row), *of_denoiser)))

  def has_training_sets(self, row: str) -> bool:
    """Whether the training sets of a row's victims are there, after the defences."""
    return all(map(self.defended.is_there, self.sources(row)))

  @property
  def seeds(self) -> range:
    """The victims of each row: 0 to S - 1."""
    return range(len(self.train.keys))

  def victims(self) -> tuple[types.Array, types.Key]:
    """Training set and key of every victim, each `[R * S]`, row after row.

    Of ensembles: of every network of every victim, each `[R * S * M]`.
    """
    rows, keys = train.every_row(self.train.keys, len(self.classifier_rows))
    return (rows, keys) if self.ensemble is None else self.ensemble.victims(rows, keys)

  def first_victims(
    self, decays: Sequence[float] | None = None, *, on_features: bool = False
  ) -> train.TrainState | early_stopping.Kept:
    """All victims before their first epoch; `params` are those that are certified.

    Args:
      decays: the weight decay of each row, if they differ.
      on_features: whether frozen features are trained and put in, if there are any;
        without, the state has the shapes alone of a checkpoint's.
    """
    each = None if decays is None else np.repeat(decays, len(self.seeds))
    state = self.train.first(self.victims()[1], each)
    if on_features:
      state = self.train.on_features(state)
    return state if self.stopping is None else early_stopping.first(state)

  def metrics_file(self) -> metrics.MetricsFile:
    """The run's metrics, with TensorBoard's files if the config asks for them."""
    if not self.config.tensorboard:
      return metrics.MetricsFile(self.folder.metrics)
    events = tensorboard.Events(self.folder.tensorboard)
    return metrics.MetricsFile(self.folder.metrics, events)

  def attack_checkpoints(self) -> checkpoint.Checkpoints:
    """Checkpoints of the attack, bound to what it sees."""
    splits = self.splits
    seen = [splits.train, splits.validation]
    if self.config.data.target_points:
      seen.append(splits.test)
    checksums = [arrays.checksum(split) for split in seen]
    return checkpoint.Checkpoints(
      self.folder.checkpoints("attack"), " ".join([self.folder.fingerprint, *checksums])
    )

  def checkpoints(self, stage: str, fingerprint: str) -> checkpoint.Checkpoints:
    """Checkpoints of a stage, bound to what the fingerprint is of."""
    return checkpoint.Checkpoints(self.folder.checkpoints(stage), fingerprint)

  def victim_checkpoints(self) -> checkpoint.Checkpoints:
    """Checkpoints of all victims, bound to the data that they are trained on."""
    checksums = [self.defended.checksum(row) for row in self.classifier_rows]
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
    points = self.certify
    of_points = points.identity(points.indices, self.certify_key(seed))
    return of_points | self.victim_identity(row, seed)

  def victim_identity(self, row: str, seed: int) -> dict[str, Any]:
    """The fields of it that say which victim is certified, and on which split."""
    return {
      "seed": seed,
      "model": self.model_name,
      "dataset": self.splits.name,
      "data": self.splits.description,
      "split": self.certify.split,
      "certified_on": self._certified_on,
      "trained_on": self.defended.checksum(self.classifier_row(row)),
      "run": self.folder.fingerprint,
      **({} if self.ensemble is None else self.ensemble.described()),
      **({} if self.denoiser is None else self._denoiser_identity(row)),
    }

  def _denoiser_identity(self, row: str) -> dict[str, Any]:
    assert self.denoiser is not None
    return {
      "denoiser": self.denoiser.name,
      "denoiser_trained_on": self.defended.checksum(self.denoiser_row(row)),
    }
