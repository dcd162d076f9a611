"""Every field of a run's config, once: its default, type, range, and what it is for.

`schema.py` makes configs, checks and messages from this tree, and `reference.py` makes
docs/configuration.md. The defaults are those of the paper and of its authors' code, for
MNIST and Gaussian augmentation; `configs/base.py` says where a default departs from them.
"""

import dataclasses
import itertools
from collections.abc import Mapping

from pacd_jax import noise, perturbation
from pacd_jax.certification import provenance
from pacd_jax.experiment import entries as _entries  # noqa: F401  Fills the registries.
from pacd_jax.experiment import fields, kinds
from pacd_jax.experiment.fields import Check, Choice, Choices, choice, field, group
from pacd_jax.registry import Registry

_frozen = dataclasses.dataclass(frozen=True, kw_only=True)


def _some_rows(registry: Registry[kinds.Row]) -> Check:
  """The check that rows differ; `together.py` checks names, which may be the user's."""
  del registry

  def holds(rows):
    names = all(isinstance(row, str) for row in rows)
    return names and len(rows) > 0 and len(set(rows)) == len(rows)

  return Check(tuple, holds, "names of training sets, each once")


def _some_starts(registry: Registry[kinds.Start]) -> Check:
  check = fields.some_of(registry)

  def holds(names):
    return check.holds(names) and len(names) > 0

  known = ", ".join(registry.names)
  return Check(tuple, holds, f"different names out of {known}")


def _are_names(names) -> bool:
  return all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


def _are_points(indices) -> bool:
  numbers = all(type(index) is int and 0 <= index < 2**31 for index in indices)
  return numbers and len(set(indices)) == len(indices)


def _are_decays(decays) -> bool:
  each = fields.at_least_zero()
  return not decays or (
    all(map(each.accepts, decays))
    and len(decays) > 1
    and all(one < other for one, other in itertools.pairwise(decays))
  )


@_frozen
class Data:
  """The images, and what the attack is after."""

  name: Choice = choice(kinds.DATA_SETS, "digits", "The data set.")
  target_class: int = field(8, fields.count(0), "The class that is attacked and certified.")
  target_points: tuple[int, ...] = field(
    (),
    Check(tuple, _are_points, "different places in the test split, or empty for the class"),
    "Points of the test split, of that class: the attack sees them, and is after them "
    "alone; empty: after the class, of which it sees validation images.",
  )
  data_dir: str = field(
    "",
    fields.text("a folder, or empty for TFDS's default"),
    "Where prepared data sets are.",
    free=True,
  )
  path: str = field(
    "",
    fields.text("an .npz file, or empty"),
    "The file of data.name=npz; a run is bound to its images by their checksum.",
    free=True,
  )
  num_train: int = field(0, fields.count(0), "Seeded subset of the training split; 0: all.")
  augment: Choice = choice(
    kinds.AUGMENTS, "none", "Random change of images, in both levels and in victims."
  )


@_frozen
class Network:
  """The base classifier, of surrogates and of victims."""

  name: Choice = choice(kinds.NETWORKS, "small_cnn", "The architecture.")
  norm: str = field(
    "", fields.text("a kind of norm layers"), "Norm layers of a ResNet; others have none."
  )


@_frozen
class Adversary:
  """The PGD of losses that have an adversary."""

  epsilon: float = field(1.0, fields.above_zero(), "Radius of the ball, image units.")
  norm: str = field("l2", fields.one_of(*perturbation.NORMS), "Of the ball.")
  num_steps: int = field(
    2,
    Check(
      int,
      lambda value: 1 <= value <= 10_000,
      "a whole number from 1 to 10000 (for none: loss=gaussian or standard)",
    ),
    "Steps of PGD, each of 2 epsilon / num_steps.",
  )
  ascent: Choice = choice(kinds.ASCENTS, "normalized", "How a step follows the gradient.")
  warmup: int = field(
    0,
    fields.count(0),
    "Until the radius is whole: epochs of victims, Adam steps of the attack's surrogates.",
  )


def _loss(**defaults: Mapping[str, object]):
  return choice(kinds.LOSSES, "gaussian", "The training loss.", defaults=defaults)


@_frozen
class Training:
  """How a network is trained: a victim, or a surrogate of the attack's lower level."""

  loss: Choice = _loss()
  noise: str = field(
    "fresh", fields.one_of(*noise.CHOICES), "At every step, or one draw for each image."
  )
  adversary: Adversary = group(Adversary)


@_frozen
class Selection:
  """The choice among several poisons: the one with the lowest ACR of fresh surrogates."""

  every: int = field(
    0, fields.count(0), "Steps between candidates; 0: the last of each start."
  )
  corners: bool = field(
    False, fields.flag(), "The last of each start at the budget's corners, too."
  )
  rows: tuple[str, ...] = field(
    (),
    Check(tuple, _are_names, "names of different baselines out of rows, or empty"),
    "Baselines whose poisons are candidates, too.",
  )
  num_surrogates: int = field(
    2, fields.count(most=1000), "Fresh surrogates for each candidate."
  )
  num_points: int = field(
    0, fields.count(0), "Of the validation split's, or of data.target_points; 0: all."
  )
  n: int = field(1000, fields.count(most=2**30), "As certify.n.")


@_frozen
class Attack(Training):
  """PACD, Algorithm 1; its loss is the victim's as the attacker assumes it."""

  loss: Choice = _loss(macer={"num_noise_samples": 2, "lam": 1.0})
  preset: Choice = choice(
    kinds.PRESETS,
    "",
    "The published attack that this group's fields describe, which is checked.",
    empty="an attack of one's own",
  )
  objective: Choice = choice(kinds.OBJECTIVES, "acr", "What the attack minimises.")
  epsilon: float = field(
    0.1,
    Check(
      float,
      lambda value: 1 / 255 <= value <= 1e3,
      "from 1/255 (one level of 8 bits) to 1000",
    ),
    "Budget of one image's perturbation, image units; of every row.",
  )
  norm: str = field("linf", fields.one_of(*perturbation.NORMS), "Of the budget.")
  poisoned_fraction: float = field(
    1.0,
    fields.interval("(0, 1]"),
    "alpha: share of the class that is poisoned, drawn by the seed; the rest stays clean.",
  )
  starts: Choices = fields.choices(
    kinds.STARTS,
    ("clean",),
    "First perturbations; of several, the poison is kept that does most to fresh "
    "surrogates.",
    check=_some_starts,
  )
  selection: Selection = group(Selection)
  num_steps: int = field(2750, fields.count(), "Outer steps from each start.")
  num_shared_steps: int = field(
    0, fields.count(0), "Of these, the first move one perturbation shared by the class."
  )
  step_size: float = field(0.1, fields.above_zero(), "Of the poison, image units.")
  step_schedule: Choice = choice(kinds.SCHEDULES, "constant", "Of step_size.")
  num_frequencies: int = field(
    0, fields.count(0), "Of each axis, that steps are cut to; 0: all."
  )
  step_rule: Choice = choice(kinds.STEP_RULES, "sign", "Direction of a step.")
  normalize: bool = field(False, fields.flag(), "Hypergradients to norm 1 before any mean.")
  momentum: float = field(
    0.0, fields.interval("[0, 1)"), "Of the running mean of hypergradients."
  )
  clean_batch: int = field(900, fields.count(), "Clean images in a lower-level batch.")
  poison_batch: int = field(100, fields.count(), "Poisoned images in it.")
  val_batch: int = field(100, fields.count(), "Validation images in the upper level.")
  val_noise: str = field(
    "fresh",
    fields.one_of(*noise.CHOICES),
    "Of the upper level: at every step, or one draw for each image.",
  )
  num_noise_samples: int = field(20, fields.count(), "k of the soft smoothed classifier.")
  inverse_temperature: float = field(16.0, fields.above_zero(), "beta of the same.")
  lower_steps: int = field(
    10, fields.count(), "T1: Adam steps of a surrogate in an outer step."
  )
  learning_rate: float = field(1e-3, fields.above_zero(), "Adam's, on a surrogate.")
  restart_every: int = field(550, fields.count(), "Outer steps that a surrogate lives.")
  warmup_steps: int = field(
    0, fields.count(0), "Adam steps of a fresh surrogate before the attack uses it."
  )
  num_surrogates: int = field(
    1, fields.count(most=1000), "Models of the victim, restarted in turn."
  )
  surrogates_at_once: int = field(0, fields.count(0), "In one vmap; 0: all.", free=True)
  warm_start: bool = field(
    False, fields.flag(), "Each solve begins at the same surrogate's last one."
  )
  hypergradient: Choice = choice(
    kinds.HYPERGRADIENTS, "approx_grad", "How the hypergradient is taken."
  )
  curvature: Choice = choice(kinds.CURVATURES, "gauss_newton", "The matrix of approx_grad.")
  solver: Choice = choice(kinds.SOLVERS, "cg", "Its linear system's method.")
  damping: float = field(
    0.1, Check(float, lambda value: value >= 0, "at least 0"), "Added to the matrix."
  )
  solver_steps: int = field(
    10,
    fields.count(),
    "T2: most steps, of the solver, of unrolling, or of penalty; the products with the "
    "matrix in a step differ, and the log has their number.",
  )
  solver_tolerance: float = field(
    0.0,
    fields.interval("[0, 1)"),
    "Relative residual at which solvers by conjugate gradients stop before.",
  )
  solver_learning_rate: float = field(
    0.01, fields.above_zero(), "Of solvers that take gradient steps."
  )
  knows_defense: bool = field(
    False,
    fields.flag(),
    "Surrogates have what is in defense.inside, and train on images that the transforms of "
    "defense.chain have changed.",
  )
  save_every: int = field(
    100, fields.count(), "Outer steps between checkpoints.", free=True
  )


@_frozen
class Stopping:
  """Early stopping of victims by their ACR on trusted images of the class."""

  every: int = field(
    0, fields.count(0), "Epochs between two that are judged; 0: the last is kept."
  )
  num_points: int = field(
    0, fields.count(0), "Seeded sample of the validation split's; 0: all."
  )
  n: int = field(1000, fields.count(most=100_000), "Votes of a point, all at once.")


@_frozen
class Train(Training):
  """The victims, trained from scratch on the poison as saved."""

  num_victims: int = field(5, fields.count(), "Of each row, each of another seed.")
  num_epochs: int = field(101, fields.count(), "On the row's training set.")
  recovery_epochs: int = field(
    0, fields.count(0), "After these, on the clean training split."
  )
  batch_size: int = field(200, fields.count(), "Images of a step.")
  learning_rate: float = field(1e-3, fields.above_zero(), "Adam's, at its peak.")
  schedule: Choice = choice(kinds.SCHEDULES, "constant", "Of it, over all epochs.")
  weight_decay: float = field(
    0.0, fields.at_least_zero(), "Decoupled (AdamW), of every parameter; 0: Adam."
  )
  augment: Choice = choice(
    kinds.AUGMENTS, "", "Of victims alone.", empty="that of data.augment"
  )
  weight_decay_choices: tuple[float, ...] = field(
    (),
    Check(tuple, _are_decays, "two or more rising numbers of at least 0, or empty"),
    "Of these, each row takes the best by 5-fold cross-validation on its own training set; "
    "empty: weight_decay.",
  )
  mix: Choice = choice(
    kinds.MIXES, "none", "Mixing of victims' images and labels, before noise is added."
  )
  clip_norm: float = field(
    0.0,
    fields.at_least_zero(),
    "C of DP-SGD: an image's gradient is cut to this norm, before Adam; 0: whole batches'.",
  )
  noise_multiplier: float = field(
    0.0,
    fields.at_least_zero(),
    "z of DP-SGD: the mean of gradients gets noise of standard deviation z C / batch_size.",
  )
  stopping: Stopping = group(Stopping)
  victims_at_once: int = field(
    0, fields.count(0), "In one vmap; 0: all seeds of all rows.", free=True
  )
  save_every: int = field(10, fields.count(), "Epochs between checkpoints.", free=True)


@_frozen
class Defense:
  """What victims do to images: of their training set, clean or poisoned, or of all."""

  chain: Choices = fields.choices(
    kinds.DEFENCES, (), "Defences of the training set, one after the other."
  )
  inside: Choices = fields.choices(
    kinds.TRANSFORMS,
    (),
    "Transforms before the network, one after the other, in training and in what is "
    "certified; each has the options of the defence of its name.",
  )


@_frozen
class Certify:
  """How the smoothed victims are certified."""

  split: str = field(
    "test", fields.one_of("test", "validation"), "Tune on validation, report on test."
  )
  n0: int = field(100, fields.count(most=2**30), "Samples that choose the class.")
  n: int = field(
    100_000, fields.count(most=2**30), "Most samples that bound its probability."
  )
  alpha: float = field(
    0.001, fields.between(0.0, 0.5), "Probability that a certificate is wrong."
  )
  num_points: int = field(
    500, fields.count(0), "Seeded sample of the class's points; 0: all."
  )
  batch_size: int = field(
    1000, fields.count(most=10**7), "Noisy images at a time on each device.", free=True
  )
  mode: Choice = choice(kinds.SAMPLING_RULES, "fixed", "How many samples a point gets.")
  dtype: str = field(
    "float32", fields.one_of(*provenance.DTYPES), "Of the base classifier certified."
  )


@_frozen
class Config:
  """The config of one run."""

  seed: int = field(0, fields.count(0), "Of everything that is drawn.")
  sigma: float = field(
    0.25,
    fields.between(0.0, 10.0),
    "Noise standard deviation of attack, training and certificate, image units ([0, 1]).",
  )
  rows: Choices = fields.choices(
    kinds.ROWS,
    ("clean", "watermark", "classwise", "pacd"),
    "Training sets that victims are trained on.",
    check=_some_rows,
  )
  poisons: Mapping[str, str] = fields.named(
    fields.text("a poison's file, the folder of the run that made it, or empty"),
    "Further rows, by names of yours: a poison's file, or the folder of a run.",
    {"yours": ""},
  )
  tensorboard: bool = field(
    False,
    fields.flag(),
    "Whether tensorboard/ in the run's folder gets what metrics.jsonl has.",
    free=True,
  )
  data: Data = group(Data)
  model: Network = group(Network)
  attack: Attack = group(Attack)
  defense: Defense = group(Defense)
  train: Train = group(Train)
  certify: Certify = group(Certify)


def needs_definite(attack: Attack) -> bool:
  """Whether the attack's method needs a positive definite matrix."""
  is_solved = kinds.HYPERGRADIENTS[attack.hypergradient.name].solves
  return is_solved and kinds.SOLVERS[attack.solver.name].needs_definite


def has_selection(attack: Attack) -> bool:
  """Whether PACD makes several poisons, of which one is to be chosen."""
  options = attack.selection
  several = len(attack.starts.names) > 1 or bool(options.rows)
  return several or bool(options.every) or options.corners
