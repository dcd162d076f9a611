"""The fields of a config on training: of victims, and what surrogates share with them."""

import dataclasses
import itertools
from collections.abc import Mapping

from pacd_jax import noise, perturbation
from pacd_jax.experiment import entries as _entries  # noqa: F401  Fills the registries.
from pacd_jax.experiment import fields, kinds
from pacd_jax.experiment.fields import Check, Choice, choice, field, group

_frozen = dataclasses.dataclass(frozen=True, kw_only=True)


def _are_decays(decays) -> bool:
  each = fields.at_least_zero()
  return not decays or (
    all(map(each.accepts, decays))
    and len(decays) > 1
    and all(one < other for one, other in itertools.pairwise(decays))
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


def loss_field(**defaults: Mapping[str, object]):
  return choice(kinds.LOSSES, "gaussian", "The training loss.", defaults=defaults)


@_frozen
class Training:
  """How a network is trained: a victim, or a surrogate of the attack's lower level."""

  loss: Choice = loss_field()
  noise: str = field(
    "fresh", fields.one_of(*noise.CHOICES), "At every step, or one draw for each image."
  )
  adversary: Adversary = group(Adversary)


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
class Ensemble:
  """Victims of many networks, whose votes bound what poisoned images can do."""

  aggregation: Choice = choice(
    kinds.AGGREGATIONS, "none", "What each network sees, and how their votes are counted."
  )
  num_models: int = field(
    50,
    Check(int, lambda value: 2 <= value <= 100_000, "a whole number from 2 to 100000"),
    "Networks of one victim.",
  )


@_frozen
class VictimAdversary(Adversary):
  """The same of victims, whose radius rises in epochs; that of surrogates at every step."""

  ramp: str = field(
    "epoch",
    fields.one_of("epoch", "step"),
    "When the radius rises: at every epoch, the first of which has a share, or every step.",
  )


@_frozen
class Train(Training):
  """The victims, trained on the poison as saved: from scratch, or on frozen features."""

  adversary: VictimAdversary = group(VictimAdversary)
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
  ensemble: Ensemble = group(Ensemble)
  frozen_features: str = field(
    "",
    Check(
      str, lambda value: value in ("", "train", "validation"), "train, validation, or empty"
    ),
    "Split on whose clean images a network is trained first, of which victims train the "
    "last layer alone; empty: they are trained from scratch.",
  )
  victims_at_once: int = field(
    0,
    fields.count(0),
    "Victims that a device trains in one vmap, of all rows and seeds; 0: all. Of "
    "ensembles: networks.",
    free=True,
  )
  save_every: int = field(10, fields.count(), "Epochs between checkpoints.", free=True)
