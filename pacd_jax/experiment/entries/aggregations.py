"""Aggregations of many networks into one victim, by name: `train.ensemble.aggregation`."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import training_sets
from pacd_jax.defenses.aggregation import (
  changes,
  deep_partition,
  finite_aggregation,
  partitions,
  rab,
  run_off,
  scheme,
  votes,
)
from pacd_jax.experiment import fields, kinds


@dataclasses.dataclass(frozen=True)
class Partitioned:
  """The options of aggregations whose networks have parts of the training set."""

  partition: str = fields.field(
    "position",
    fields.one_of(*partitions.PARTITIONS),
    "How it is cut: position counts replaced images, content removed or inserted ones, "
    "rank flipped labels.",
  )


@dataclasses.dataclass(frozen=True)
class Finite(Partitioned):
  """The options of `finite_aggregation`."""

  spread: int = fields.field(4, fields.count(), "Networks that each part goes to: d.")


@dataclasses.dataclass(frozen=True)
class Rab:
  """The options of `rab`."""

  num_choosing: int = fields.field(
    20, fields.count(), "Networks that choose the class; the others bound its probability."
  )


def _of_parts(
  tools: kinds.AggregationTools,
  options: Partitioned,
  certify: Callable[[types.Array], tuple[Any, Any]],
  *,
  spread: int = 1,
  depth: int = 1,
) -> scheme.Scheme:
  partition = partitions.PARTITIONS[options.partition]

  def members(training_set):
    return partitions.members(
      training_set,
      partition.assign(training_set, tools.num_models),
      tools.num_models,
      spread=spread,
      positional=partition.positional,
    )

  return scheme.Scheme(
    num_models=tools.num_models,
    unit=partition.unit,
    members=members,
    size=partition.size,
    predict=lambda logits: certify(logits)[0],
    certify=certify,
    depth=depth,
    spread=spread,
    positional=partition.positional,
  )


def _check(options: Partitioned, splits: types.Splits) -> None:
  """Checks that the training images can be cut as the options say."""
  if options.partition == "rank":  # There may be equal images.
    partitions.by_rank(training_sets.whole(splits.train), 1)


def _finite(tools: kinds.AggregationTools, options: Finite) -> scheme.Scheme:
  offsets = partitions.offsets(tools.num_models, options.spread)
  certify = functools.partial(finite_aggregation.certify, offsets=offsets)
  return _of_parts(tools, options, certify, spread=options.spread)


kinds.AGGREGATIONS.add(
  kinds.Aggregation("none", lambda tools, options: None, "a victim is one network")
)
kinds.AGGREGATIONS.add(
  kinds.Aggregation(
    "deep_partition",
    lambda tools, options: _of_parts(tools, options, deep_partition.certify),
    "Deep Partition Aggregation: one network for each part (Levine and Feizi, 2021)",
    options=Partitioned,
    check=_check,
  )
)
kinds.AGGREGATIONS.add(
  kinds.Aggregation(
    "finite_aggregation",
    _finite,
    "Finite Aggregation: parts that overlap (Wang et al., 2022)",
    options=Finite,
    check=_check,
  )
)
kinds.AGGREGATIONS.add(
  kinds.Aggregation(
    "run_off",
    lambda tools, options: _of_parts(tools, options, run_off.certify, depth=0),
    "Run-Off Election: a second vote between two classes (Rezaei et al., 2023)",
    options=Partitioned,
    check=_check,
  )
)


# --- smoothed training sets -----------------------------------------------------------


def _rab(tools: kinds.AggregationTools, options: Rab) -> scheme.Scheme:
  if options.num_choosing >= tools.num_models:
    raise errors.InputError(
      f"num_choosing is {options.num_choosing}, but there are {tools.num_models} networks, "
      "of which others bound the probability: use a smaller one"
    )

  def counts(logits):
    return votes.count(votes.cast(logits), logits.shape[-1])

  def predict(logits):
    return jnp.argmax(counts(logits[: options.num_choosing]), axis=-1)

  def certify(logits):
    parts = logits[: options.num_choosing], logits[options.num_choosing :]
    choosing, bounding = (np.asarray(counts(part)) for part in parts)
    return rab.certify(choosing, bounding, tools.sigma, tools.alpha)

  return scheme.Scheme(
    num_models=tools.num_models,
    unit=rab.UNIT,
    members=None,
    size=changes.norm,
    predict=predict,
    certify=certify,
  )


kinds.AGGREGATIONS.add(
  kinds.Aggregation(
    "rab",
    _rab,
    "RAB: networks of all images, each with noise of its own on them (Weber et al., 2023)",
    options=Rab,
    smooths_training=True,
  )
)
