"""Filters of the training set by name: `defense.chain`."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from pacd_jax import types
from pacd_jax.attacks import filter_penalty
from pacd_jax.data import arrays, training_sets
from pacd_jax.defenses.filters import (
  activation_clustering,
  centroids,
  deep_knn,
  knn,
  l2,
  loss,
  neighbours,
  removal,
  representation,
  slab,
  spectral_signatures,
  svd,
)
from pacd_jax.experiment import fields, kinds


def _share() -> Any:
  return fields.field(0.05, fields.interval("[0, 1)"), "Of every class, that is removed.")


def _of(default: str) -> Any:
  words = "Pixels, or features of a victim that is trained on the set."
  return fields.field(default, fields.one_of(*representation.KINDS), words)


def _centroids() -> Any:
  words = "Of the data at hand, or of trusted validation images: an oracle."
  return fields.field("data", fields.one_of(*centroids.SOURCES), words)


@dataclasses.dataclass(frozen=True)
class Distance:
  """The options of `l2` and of `slab`."""

  share: float = _share()
  of: str = _of("pixels")
  centroids: str = _centroids()


@dataclasses.dataclass(frozen=True)
class Loss:
  """The options of `loss`."""

  share: float = _share()


@dataclasses.dataclass(frozen=True)
class Knn:
  """The options of `knn`."""

  share: float = _share()
  k: int = fields.field(5, fields.count(), "Number of nearest neighbours, of any class.")
  of: str = _of("pixels")


@dataclasses.dataclass(frozen=True)
class Svd:
  """The options of `svd`."""

  share: float = _share()
  explained: float = fields.field(
    0.95, fields.between(0, 1), "Share of the squared spectrum that the subspace has."
  )
  of: str = _of("pixels")
  centroids: str = _centroids()


@dataclasses.dataclass(frozen=True)
class DeepKnn:
  """The options of `deep_knn`."""

  k: int = fields.field(
    50, fields.count(), "Number of nearest neighbours, at most the smallest class's images."
  )
  rule: str = fields.field(
    "plurality",
    fields.one_of(*deep_knn.RULES),
    "Plurality, the image itself included, or majority of the others.",
  )
  of: str = _of("features")


@dataclasses.dataclass(frozen=True)
class SpectralSignatures:
  """The options of `spectral_signatures`."""

  poisoned_share: float = fields.field(
    0.1, fields.interval("[0, 0.66]"), "Expected in a class; 1.5 times as much is removed."
  )
  of: str = _of("features")


@dataclasses.dataclass(frozen=True)
class ActivationClustering:
  """The options of `activation_clustering`."""

  silhouette: float = fields.field(
    0.3, fields.interval("[0, 1)"), "Of two clusters, above which the smaller one goes."
  )
  size: float = fields.field(
    0.15, fields.interval("(0, 0.5]"), "Share of its class under which a cluster is small."
  )
  of: str = _of("features")


def _penalty(
  score: Callable[..., types.Array], of_filter: Callable[..., np.ndarray]
) -> Callable[[kinds.PenaltyTools, Any], types.PenaltyFn]:
  """The penalty of a filter by centroids, under its options, made when first needed."""

  def make(tools: kinds.PenaltyTools, options: Distance) -> types.PenaltyFn:
    @functools.cache
    def made() -> types.PenaltyFn:
      splits, label = tools.splits, tools.target_class
      is_oracle = options.centroids == "trusted"
      given = splits.validation if is_oracle else splits.train
      means = centroids.means(_vectors(given.images), given.labels, splits.num_classes)
      labels = splits.train.labels
      scores = of_filter(_vectors(splits.train.images), labels, means)[labels == label]
      kept = removal.num_kept(options.share, len(scores))
      return filter_penalty.make(
        score,
        means,
        float(np.sort(scores)[kept - 1]),
        label=label,
        moving=0.0 if is_oracle else tools.num_poisoned / len(scores),
        weight=tools.weight,
      )

    return lambda poison, base_images: made()(poison, base_images)

  return make


def _vectors(images: np.ndarray) -> np.ndarray:
  return arrays.to_float(images).reshape(len(images), -1)


def _add(
  defence: Any,
  words: str,
  options: type,
  penalty: Callable[[kinds.PenaltyTools, Any], types.PenaltyFn] | None = None,
) -> None:
  """Registers a filter whose keyword arguments are its options."""

  def uses_trusted(of_config: Any) -> bool:
    return getattr(of_config, "centroids", "data") == "trusted"

  def check(of_config: Any, splits: types.Splits) -> None:
    """As the filter does, of the clean training split."""
    name, training_set = defence.__name__, training_sets.whole(splits.train)
    if hasattr(of_config, "share"):
      removal.check_share(name, training_set, of_config.share)
    if hasattr(of_config, "k"):
      within = defence is deep_knn.deep_knn
      neighbours.check(name, training_set, of_config.k, within_classes=within)

  kinds.DEFENCES.add(
    kinds.Defence(
      defence.__name__,
      fields.bound(defence),
      words,
      options=options,
      is_filter=True,
      uses_trusted=uses_trusted,
      check=check,
      penalty=penalty,
    )
  )


_add(
  l2.l2,
  "images far from the centroid of their class are removed",
  Distance,
  _penalty(filter_penalty.l2, l2.score),
)
_add(
  slab.slab,
  "images far from their class's centroid along the line to another one",
  Distance,
  _penalty(filter_penalty.slab, slab.score),
)
_add(loss.loss, "images that a model trained on all of them fits worst", Loss)
_add(knn.knn, "images far from their nearest neighbours", Knn)
_add(svd.svd, "images far from the low-rank part of the data", Svd)
_add(deep_knn.deep_knn, "images whose neighbours have another label", DeepKnn)
_add(
  spectral_signatures.spectral_signatures,
  "images far out along the main direction of their class",
  SpectralSignatures,
)
_add(
  activation_clustering.activation_clustering,
  "the smaller of two clusters of a class, if small and separate",
  ActivationClustering,
)
