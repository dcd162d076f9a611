"""Every kind of thing that a config names: what an entry of it holds, and its registry.

The package's entries are in `entries/`; sampling rules are in `certification/rules/`, since
files of certificates are read with them. A `make` is called with plain values and the
config's instance of `options`; None where there is none.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import optax

from pacd_jax import evasion, types
from pacd_jax.attacks import step_rules
from pacd_jax.certification import certify, procedure, sampling
from pacd_jax.data import sources
from pacd_jax.defenses.aggregation import scheme
from pacd_jax.experiment.row_tools import Poisoned as Poisoned
from pacd_jax.experiment.row_tools import RowTools as RowTools
from pacd_jax.manifolds.manifold import Manifold as FittedManifold
from pacd_jax.registry import Registry

Options = Any  # An instance of an entry's dataclass.


# --- training and the attack's two levels ---------------------------------------------


class LossTools(NamedTuple):
  """The inputs of `Loss.make`."""

  model: types.Model
  sigma: float  # Noise standard deviation, image units.
  attack: evasion.Pgd  # The PGD of losses that have an adversary.
  # `data.manifold`; None where the loss does not need one.
  manifold: FittedManifold | None = None

  @property
  def apply(self) -> types.ApplyFn:
    return self.model.apply


@dataclasses.dataclass(frozen=True)
class Loss:
  """A training loss, for victims and for the attack's lower level."""

  name: str
  make: Callable[[LossTools, Options], types.Loss]
  words: str
  options: type | None = None
  needs_noise: bool = False  # It trains on Gaussian noise.
  has_adversary: bool = False  # It attacks its images first.
  # It is linear in a one-hot label, and its outputs do not depend on labels: mixed labels.
  takes_mixed: bool = False
  is_mean: bool = False  # Of a term of each image, which thus has a gradient of its own.
  needs_bounds: bool = False  # Of the network's logits on the adversary's ball.
  needs_manifold: bool = False  # It attacks along `data.manifold`.


class ObjectiveTools(NamedTuple):
  """The inputs of `Objective.make`."""

  model: types.Model
  sigma: float  # Noise standard deviation, image units.
  num_noise_samples: int  # k of the soft smoothed classifier.
  inverse_temperature: float  # beta of the soft smoothed classifier.
  attack: evasion.Pgd  # The adversary of the attack's training loss, and its ball.

  @property
  def apply(self) -> types.ApplyFn:
    return self.model.apply


@dataclasses.dataclass(frozen=True)
class Objective:
  """An objective, which the attacker minimises."""

  name: str
  make: Callable[[ObjectiveTools, Options], types.ObjectiveFn]
  words: str
  options: type | None = None
  needs_noise: bool = False  # It is defined on a smoothed classifier.
  # It is after certified radii, as is all that needs noise: poisons are chosen by the ACR.
  lowers_radii: bool = False
  # Describes row `pacd` in a report; "": the words of that row, the paper's attack.
  row_words: str = ""


@dataclasses.dataclass(frozen=True)
class Ascent:
  """The steps of an adversary's PGD."""

  name: str
  make: Callable[[Options], types.AscentFn]
  words: str
  options: type | None = None


class EvasionTools(NamedTuple):
  """The inputs of `Evasion.make`."""

  norm: str  # One of the entry's.
  targeted: bool


@dataclasses.dataclass(frozen=True)
class Evasion:
  """An attack at test time, of `pacd evade` and of the paper's Table 5; of no config."""

  name: str
  make: Callable[[EvasionTools, Options], types.EvasionFn]  # Hashable.
  words: str
  options: type | None = None
  norms: tuple[str, ...] = ("l2", "linf")
  of_latents: bool = False  # It moves latents of `data.manifold`: radii are theirs.


@dataclasses.dataclass(frozen=True)
class Augment:
  """A random change of training images."""

  name: str
  make: Callable[[Options], types.AugmentFn | None]  # None: there is none.
  words: str
  options: type | None = None
  # Checks its options against the data; raises errors.InputError.
  check: Callable[[Options, types.Splits], None] | None = None


class ManifoldTools(NamedTuple):
  """The inputs of `Manifold.fit`."""

  images: np.ndarray  # uint8 `[n, H, W, C]`: trusted, not poisoned.
  key: types.Key  # Consumed.


@dataclasses.dataclass(frozen=True)
class Manifold:
  """A manifold of images, fitted on trusted ones."""

  name: str
  fit: Callable[[ManifoldTools, Options], FittedManifold]
  words: str
  options: type  # It has a field `latent_dimension`.


@dataclasses.dataclass(frozen=True)
class Mix:
  """A random mixing of a victim's training images, and of their labels."""

  name: str
  make: Callable[[Options], types.MixFn | None]  # None: there is none.
  words: str
  options: type | None = None


@dataclasses.dataclass(frozen=True)
class Schedule:
  """A size or rate as a function of the step."""

  name: str
  # `(size, number of steps, options)`.
  make: Callable[[float, Any, Options], optax.Schedule]
  words: str
  options: type | None = None


# --- hypergradients -------------------------------------------------------------------


class SolverTools(NamedTuple):
  """The settings of all linear solvers, and of hypergradients that take steps."""

  num_steps: int  # The most steps.
  tolerance: float  # Relative residual at which a solver stops early.
  learning_rate: float  # For solvers that take gradient steps.
  damping: float  # Added to the matrix.


@dataclasses.dataclass(frozen=True)
class Solver:
  """A method for the linear system A p = grad f."""

  name: str
  make: Callable[[SolverTools, Options], types.SolveFn]
  words: str
  options: type | None = None
  needs_definite: bool = False  # It minimises x'Ax / 2 - b'x, or its like.
  is_iterative: bool = True  # It improves a first guess: a warm start is of use.
  needs_warm_start: bool = False  # It follows the solution over outer steps.
  adds_damping: bool = False  # It adds and divides by the damping itself.


@dataclasses.dataclass(frozen=True)
class Curvature:
  """The matrix A of ApproxGrad."""

  name: str
  make: Callable[[Options], types.CurvatureFn]
  words: str
  options: type | None = None
  is_semidefinite: bool = False


class HypergradientTools(NamedTuple):
  """The inputs of `Hypergradient.make`."""

  steps: SolverTools
  curvature: types.CurvatureFn
  solve: types.SolveFn  # Damped.


@dataclasses.dataclass(frozen=True)
class Hypergradient:
  """A method for the derivative of the upper level through the lower level."""

  name: str
  make: Callable[[HypergradientTools, Options], types.HypergradientFn]
  words: str
  options: type | None = None
  solves: bool = False  # It uses the matrix and the solver.
  # What a surrogate's first solve starts from, where each starts from the end of the last.
  first_start: Callable[[types.Params], Any] | None = None


@dataclasses.dataclass(frozen=True)
class StepRule:
  """A rule by which a step of the poison follows from its hypergradients."""

  name: str
  make: Callable[[Options], step_rules.StepRule]
  words: str
  options: type | None = None


@dataclasses.dataclass(frozen=True)
class Preset:
  """An attack that others have published, by the fields of `attack` that define it."""

  name: str
  # The fields by flat names, for a training loss's name; numbers may differ from these.
  fields: Callable[[str], Mapping[str, Any]]
  words: str  # For the row in tables and pages.
  options: type | None = None


# --- data and networks ----------------------------------------------------------------


class SourceTools(NamedTuple):
  """The inputs of `DataSet.load`: where stored images may be."""

  data_dir: str  # A folder of prepared data sets; "": TFDS's default.
  path: str  # A file.


@dataclasses.dataclass(frozen=True)
class DataSet:
  """Stored images with labels, and how much of them is for validation."""

  name: str
  load: Callable[[SourceTools, Options], sources.Source]
  words: str
  options: type | None = None
  takes: tuple[str, ...] = ()  # Which of "data_dir" and "path" it uses.
  # If there is a test split, 1 / `validation_share` of the training split is validation.
  validation_share: int = 10


class NetworkTools(NamedTuple):
  """The inputs of `Network.make`."""

  num_classes: int
  image_shape: tuple[int, int, int]
  norm: str


@dataclasses.dataclass(frozen=True)
class Network:
  """A base classifier's architecture."""

  name: str
  make: Callable[[NetworkTools, Options], types.Model]
  words: str
  options: type | None = None
  norms: tuple[str, ...] = ("",)  # Kinds of norm layers; "": it has none.
  has_torch_layout: bool = False  # `models.torch_layout` knows its layers.


# --- rows and defences ----------------------------------------------------------------


class Style(NamedTuple):
  """A line style in pictures: a colour, and Matplotlib's dashes."""

  color: str
  dashes: Any = "-"


@dataclasses.dataclass(frozen=True)
class Row:
  """A training set: the clean one, or one with the poison of an attack."""

  name: str
  # None: clean data, and PACD, which `search.py` runs step by step.
  make: Callable[[RowTools, Options], np.ndarray | Poisoned] | None
  words: str
  style: Style | None = None  # None: any style that is free.
  options: type | None = None
  stream: int | None = None  # Its random stream; None: one derived from its name.
  trains_surrogate: bool = False  # By `attack.clean_batch` and its like.
  # Whether `attack.loss` may have an adversary; False: the row adds its own, say.
  takes_adversary: bool = True
  # False: it asks something else of victims, and tables of attacks leave it out.
  is_attack: bool = True
  # The run's budget bounds what it changes; False: its options do, up to all of [0, 1].
  is_bounded: bool = True
  # Checks its options against the data; raises errors.InputError.
  check: Callable[[Options, types.Splits], None] | None = None
  # Its options say which test image is to get the class's label, `target`, and how many
  # images of the class it changes for that, `num_images` (0: all that it may).
  is_targeted: bool = False
  needs_features: bool = False  # The network shows what its last layer takes.


@dataclasses.dataclass(frozen=True)
class Trigger:
  """A fixed change of images that a backdoored victim answers to."""

  name: str
  make: Callable[[Options, tuple[int, int, int]], types.TriggerFn]  # Given `(H, W, C)`.
  words: str
  options: type | None = None
  # Checks its options against the images' shape; raises errors.InputError.
  check: Callable[[Options, tuple[int, int, int]], None] | None = None


@dataclasses.dataclass(frozen=True)
class Start:
  """A first perturbation of PACD."""

  name: str
  # `[1 or n, H, W, C]`; None: the clean images.
  make: Callable[[RowTools, Options], types.Array | None]
  words: str
  options: type | None = None
  is_clean: bool = False  # It is no poison by itself.


class PenaltyTools(NamedTuple):
  """The inputs of `Defence.penalty`."""

  splits: types.Splits
  target_class: int
  num_poisoned: int  # Images of the class that the attack changes.
  weight: float


@dataclasses.dataclass(frozen=True)
class Defence:
  """A defence, which a victim applies to its training set before it trains."""

  name: str
  make: Callable[[Options], types.DefenceFn]
  words: str
  options: type | None = None
  is_filter: bool = False  # It removes images that it compares with the others.
  # What it makes of an image depends on no other image of the training set.
  is_per_image: bool = False
  uses_trusted: Callable[[Options], bool] = lambda options: False
  # What an attack that knows the filter adds to its objective, so that its images stay.
  penalty: Callable[[PenaltyTools, Options], types.PenaltyFn] | None = None
  # Checks its options against the data; raises errors.InputError.
  check: Callable[[Options, types.Splits], None] | None = None


class TransformTools(NamedTuple):
  """The inputs of `Transform.make`."""

  validation: types.Dataset  # Trusted: not poisoned.
  key: types.Key  # Folded or cloned, not consumed.


@dataclasses.dataclass(frozen=True)
class Transform:
  """A change of images inside the classifier, such as that of the defence of its name.

  Its options are those of the entry of this name in `DEFENCES`, if there is one.
  """

  name: str
  make: Callable[[TransformTools, Options], types.TransformFn]
  words: str
  needs_trusted: bool = False  # It is made of the validation images.
  options: None = None


class DenoiserTools(NamedTuple):
  """The inputs of `DenoiserLoss.make`."""

  denoise: types.ApplyFn  # Images of noisy images, given a denoiser's parameters.
  classify: types.ApplyFn  # Logits of images, given a classifier's parameters.
  sigma: float  # Noise standard deviation, image units.


@dataclasses.dataclass(frozen=True)
class DenoiserLoss:
  """A loss of the denoiser that stands before a victim in what is certified."""

  name: str
  # Its parameters are `certification.denoised.InTraining`. None: there is no denoiser.
  make: Callable[[DenoiserTools, Options], types.Loss] | None
  words: str
  options: type | None = None
  # How many surrogates it sees; 0: the victim itself. None: it sees no classifier.
  num_surrogates: Callable[[Options], int | None] = lambda options: None
  logged: tuple[str, ...] = ("noise_left",)  # Of its auxiliary numbers.


class AggregationTools(NamedTuple):
  """The inputs of `Aggregation.make`."""

  num_models: int  # Networks of one victim, at least 2.
  sigma: float  # Noise standard deviation of training, image units.
  alpha: float  # Probability that a certificate is wrong.


@dataclasses.dataclass(frozen=True)
class Aggregation:
  """A way to make one victim of many networks, whose votes bound what poison can do."""

  name: str
  # None: a victim is one network.
  make: Callable[[AggregationTools, Options], scheme.Scheme | None]
  words: str
  options: type | None = None
  # Its networks differ by one draw of noise for each training image, and by no more.
  smooths_training: bool = False
  # Checks its options against the data; raises errors.InputError.
  check: Callable[[Options, types.Splits], None] | None = None


# --- certificates ---------------------------------------------------------------------


class ProcedureTools(NamedTuple):
  """The inputs of `Procedure.make`."""

  model: types.Model  # The classifier that is certified.
  image_shape: tuple[int, int, int]
  num_classes: int
  sampling: certify.Settings  # How votes are drawn, if they are.


@dataclasses.dataclass(frozen=True)
class Procedure:
  """A way to certify predictions: what it certifies, and how.

  `entries.procedures.verifying` makes one of a function that verifies balls.
  """

  name: str
  # Raises errors.InputError for a classifier that it cannot certify.
  make: Callable[[ProcedureTools, Options], procedure.Procedure]
  words: str
  options: type | None = None
  # Its differentiable counterpart, which an attack on its certificates minimises: a name
  # of `OBJECTIVES`; "": there is none.
  objective: str = ""
  draws: bool = False  # Whether it draws noise, by the fields of `certify` and sigma.
  # Checks its options; raises errors.InputError.
  check: Callable[[Options], None] | None = None


LOSSES: Registry[Loss] = Registry("loss")
OBJECTIVES: Registry[Objective] = Registry("objective")
ASCENTS: Registry[Ascent] = Registry("ascent")
EVASIONS: Registry[Evasion] = Registry("attack at test time")
AUGMENTS: Registry[Augment] = Registry("augmentation")
MANIFOLDS: Registry[Manifold] = Registry("manifold")
MIXES: Registry[Mix] = Registry("mixing")
SCHEDULES: Registry[Schedule] = Registry("schedule")
SOLVERS: Registry[Solver] = Registry("solver")
CURVATURES: Registry[Curvature] = Registry("curvature")
HYPERGRADIENTS: Registry[Hypergradient] = Registry("hypergradient")
STEP_RULES: Registry[StepRule] = Registry("step rule")
PRESETS: Registry[Preset] = Registry("preset")
DATA_SETS: Registry[DataSet] = Registry("data set")
NETWORKS: Registry[Network] = Registry("network")
ROWS: Registry[Row] = Registry("row")
TRIGGERS: Registry[Trigger] = Registry("trigger")
STARTS: Registry[Start] = Registry("start")
DEFENCES: Registry[Defence] = Registry("defence")
TRANSFORMS: Registry[Transform] = Registry("transform")
DENOISER_LOSSES: Registry[DenoiserLoss] = Registry("loss of denoisers")
AGGREGATIONS: Registry[Aggregation] = Registry("aggregation")
PROCEDURES: Registry[Procedure] = Registry("certification procedure")
SAMPLING_RULES = sampling.RULES
ALL: tuple[Registry[Any], ...] = (
  LOSSES,
  OBJECTIVES,
  ASCENTS,
  EVASIONS,
  AUGMENTS,
  MANIFOLDS,
  MIXES,
  SCHEDULES,
  SOLVERS,
  CURVATURES,
  HYPERGRADIENTS,
  STEP_RULES,
  PRESETS,
  DATA_SETS,
  NETWORKS,
  ROWS,
  TRIGGERS,
  STARTS,
  DEFENCES,
  TRANSFORMS,
  DENOISER_LOSSES,
  AGGREGATIONS,
  PROCEDURES,
  SAMPLING_RULES,
)
