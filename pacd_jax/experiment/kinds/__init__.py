"""Every kind of thing that a config names: what an entry of it holds, and its registry.

The package's entries are in `entries/`; sampling rules are in `certification/rules/`, since
files of certificates are read with them. A `make` is called with plain values and the
config's instance of `options`; None where there is none.
"""

from typing import Any

from pacd_jax.certification import sampling
from pacd_jax.experiment.kinds.certificates import PROCEDURES as PROCEDURES
from pacd_jax.experiment.kinds.certificates import Procedure as Procedure
from pacd_jax.experiment.kinds.certificates import ProcedureTools as ProcedureTools
from pacd_jax.experiment.kinds.hypergradients import CURVATURES as CURVATURES
from pacd_jax.experiment.kinds.hypergradients import HYPERGRADIENTS as HYPERGRADIENTS
from pacd_jax.experiment.kinds.hypergradients import PRESETS as PRESETS
from pacd_jax.experiment.kinds.hypergradients import SOLVERS as SOLVERS
from pacd_jax.experiment.kinds.hypergradients import STEP_RULES as STEP_RULES
from pacd_jax.experiment.kinds.hypergradients import Curvature as Curvature
from pacd_jax.experiment.kinds.hypergradients import Hypergradient as Hypergradient
from pacd_jax.experiment.kinds.hypergradients import (
  HypergradientTools as HypergradientTools,
)
from pacd_jax.experiment.kinds.hypergradients import Preset as Preset
from pacd_jax.experiment.kinds.hypergradients import Solver as Solver
from pacd_jax.experiment.kinds.hypergradients import SolverTools as SolverTools
from pacd_jax.experiment.kinds.hypergradients import StepRule as StepRule
from pacd_jax.experiment.kinds.inputs import DATA_SETS as DATA_SETS
from pacd_jax.experiment.kinds.inputs import NETWORKS as NETWORKS
from pacd_jax.experiment.kinds.inputs import DataSet as DataSet
from pacd_jax.experiment.kinds.inputs import Network as Network
from pacd_jax.experiment.kinds.inputs import NetworkTools as NetworkTools
from pacd_jax.experiment.kinds.inputs import SourceTools as SourceTools
from pacd_jax.experiment.kinds.rows import AGGREGATIONS as AGGREGATIONS
from pacd_jax.experiment.kinds.rows import DEFENCES as DEFENCES
from pacd_jax.experiment.kinds.rows import DENOISER_LOSSES as DENOISER_LOSSES
from pacd_jax.experiment.kinds.rows import ROWS as ROWS
from pacd_jax.experiment.kinds.rows import STARTS as STARTS
from pacd_jax.experiment.kinds.rows import TRANSFORMS as TRANSFORMS
from pacd_jax.experiment.kinds.rows import TRIGGERS as TRIGGERS
from pacd_jax.experiment.kinds.rows import Aggregation as Aggregation
from pacd_jax.experiment.kinds.rows import AggregationTools as AggregationTools
from pacd_jax.experiment.kinds.rows import Defence as Defence
from pacd_jax.experiment.kinds.rows import DenoiserLoss as DenoiserLoss
from pacd_jax.experiment.kinds.rows import DenoiserTools as DenoiserTools
from pacd_jax.experiment.kinds.rows import PenaltyTools as PenaltyTools
from pacd_jax.experiment.kinds.rows import Row as Row
from pacd_jax.experiment.kinds.rows import Start as Start
from pacd_jax.experiment.kinds.rows import Style as Style
from pacd_jax.experiment.kinds.rows import Transform as Transform
from pacd_jax.experiment.kinds.rows import TransformTools as TransformTools
from pacd_jax.experiment.kinds.rows import Trigger as Trigger
from pacd_jax.experiment.kinds.training import ASCENTS as ASCENTS
from pacd_jax.experiment.kinds.training import AUGMENTS as AUGMENTS
from pacd_jax.experiment.kinds.training import EVASIONS as EVASIONS
from pacd_jax.experiment.kinds.training import LOSSES as LOSSES
from pacd_jax.experiment.kinds.training import MANIFOLDS as MANIFOLDS
from pacd_jax.experiment.kinds.training import MIXES as MIXES
from pacd_jax.experiment.kinds.training import OBJECTIVES as OBJECTIVES
from pacd_jax.experiment.kinds.training import SCHEDULES as SCHEDULES
from pacd_jax.experiment.kinds.training import Ascent as Ascent
from pacd_jax.experiment.kinds.training import Augment as Augment
from pacd_jax.experiment.kinds.training import Evasion as Evasion
from pacd_jax.experiment.kinds.training import EvasionTools as EvasionTools
from pacd_jax.experiment.kinds.training import Loss as Loss
from pacd_jax.experiment.kinds.training import LossTools as LossTools
from pacd_jax.experiment.kinds.training import Manifold as Manifold
from pacd_jax.experiment.kinds.training import ManifoldTools as ManifoldTools
from pacd_jax.experiment.kinds.training import Mix as Mix
from pacd_jax.experiment.kinds.training import Objective as Objective
from pacd_jax.experiment.kinds.training import ObjectiveTools as ObjectiveTools
from pacd_jax.experiment.kinds.training import Schedule as Schedule
from pacd_jax.experiment.row_tools import Poisoned as Poisoned
from pacd_jax.experiment.row_tools import RowTools as RowTools
from pacd_jax.registry import Options as Options
from pacd_jax.registry import Registry

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
