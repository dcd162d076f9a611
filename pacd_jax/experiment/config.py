"""Every field of a run's config, once: its default, type, range, and what it is for.

The groups `attack` and `train` have files of their own.
`schema.py` makes configs, checks and messages from this tree, and `reference.py` makes
docs/configuration.md. The defaults are those of the paper and of its authors' code, for
MNIST and Gaussian augmentation; `configs/base.py` says where a default departs from them.
"""

import dataclasses
import itertools
from collections.abc import Mapping

from pacd_jax.certification import provenance
from pacd_jax.experiment import entries as _entries  # noqa: F401  Fills the registries.
from pacd_jax.experiment import fields, kinds
from pacd_jax.experiment.attack_config import Attack
from pacd_jax.experiment.denoiser_config import Denoiser
from pacd_jax.experiment.fields import Check, Choice, Choices, choice, field, group
from pacd_jax.experiment.training_config import Train
from pacd_jax.registry import Registry

_frozen = dataclasses.dataclass(frozen=True, kw_only=True)


def _some_rows(registry: Registry[kinds.Row]) -> Check:
  """The check that rows differ; `together.py` checks names, which may be the user's."""
  del registry

  def holds(rows):
    names = all(isinstance(row, str) for row in rows)
    return names and len(rows) > 0 and len(set(rows)) == len(rows)

  return Check(tuple, holds, "names of training sets, each once")


def _are_points(indices) -> bool:
  numbers = all(type(index) is int and 0 <= index < 2**31 for index in indices)
  return numbers and len(set(indices)) == len(indices)


def _are_numbers_of_images(numbers) -> bool:
  return all(type(each) is int and each >= 1 for each in numbers) and all(
    one < other for one, other in itertools.pairwise(numbers)
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
  manifold: Choice = choice(
    kinds.MANIFOLDS,
    "pca",
    "The manifold of losses and attacks that move along one, fitted on validation images.",
  )


@_frozen
class Network:
  """The base classifier, of surrogates and of victims."""

  name: Choice = choice(kinds.NETWORKS, "small_cnn", "The architecture.")
  norm: str = field(
    "", fields.text("a kind of norm layers"), "Norm layers of a ResNet; others have none."
  )


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
  """How victims are certified, by default as smoothed classifiers."""

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
  procedure: Choice = choice(
    kinds.PROCEDURES,
    "smoothing",
    "What certifies a prediction; n0, n, alpha, mode and sigma are of smoothing alone.",
  )
  mode: Choice = choice(kinds.SAMPLING_RULES, "fixed", "How many samples a point gets.")
  dtype: str = field(
    "float32", fields.one_of(*provenance.DTYPES), "Of the base classifier certified."
  )
  sound: bool = field(
    False,
    fields.flag(),
    "Whether certificates hold in floating-point arithmetic, too: docs/sound.md.",
  )
  poisoned_images: tuple[int, ...] = field(
    (),
    Check(tuple, _are_numbers_of_images, "rising whole numbers of at least 1, or empty"),
    "Of an ensemble: further certificates, each of which holds whichever so many training "
    "images are poisoned, too.",
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
  denoiser: Denoiser = group(Denoiser)
  certify: Certify = group(Certify)
