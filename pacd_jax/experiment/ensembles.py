"""Victims that are ensembles: the training sets and keys of their networks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types
from pacd_jax.defenses.aggregation import ensemble, scheme
from pacd_jax.experiment import kinds
from pacd_jax.experiment.config import Config


def scheme_of(config: Config) -> scheme.Scheme | None:
  """The aggregation of a config with its options; None: victims are single networks.

  Raises:
    errors.InputError: an option does not fit the number of networks.
  """
  options = config.train.ensemble
  name, own = options.aggregation.name, options.aggregation.own
  tools = kinds.AggregationTools(options.num_models, config.sigma, config.certify.alpha)
  with errors.about(f"config field train.ensemble.{name}"):
    return kinds.AGGREGATIONS[name].make(tools, own)


class EnsemblePlan(NamedTuple):
  """What a run's victims are, beside the networks that they are made of."""

  name: str  # Of the aggregation.
  scheme: scheme.Scheme
  network: types.Model  # Each of the networks.
  levels: tuple[int, ...]  # Numbers of poisoned images, rising from 0.

  @property
  def num_models(self) -> int:
    return self.scheme.num_models

  @property
  def model(self) -> types.Model:
    """A victim as one base classifier."""
    return ensemble.make(self.network, self.scheme)

  def named(self, network: str) -> str:
    """The victims' model in tables, given the name of one network."""
    return f"{self.num_models} {network} ({self.name})"

  def described(self) -> dict[str, Any]:
    """What sidecars say of the ensemble."""
    return {
      "aggregation": self.name,
      "num_models": self.num_models,
      "unit": self.scheme.unit,
    }

  def victims(self, rows: types.Array, keys: types.Key) -> tuple[types.Array, types.Key]:
    """The training set and key of every network, `[V M]`, of V victims' rows and keys."""
    of_each = jax.vmap(lambda key: ensemble.model_keys(key, self.num_models))(keys)
    sets = jnp.repeat(rows, self.num_models)
    if self.scheme.members is not None:
      numbers = jnp.arange(self.num_models, dtype=jnp.int32)
      sets = sets * self.num_models + jnp.tile(numbers, len(rows))
    return sets, of_each.reshape(-1)

  def data(self, sets: Sequence[types.TrainingSet], stacked: types.Rows) -> types.Rows:
    """The training sets of all networks, for the device."""
    if self.scheme.members is None:
      return stacked
    return ensemble.rows(sets, stacked, self.scheme)

  def remark(self, data: types.Rows, batch_size: int, num_classes: int) -> str:
    """Says how many networks' sets lack a class, or a batch of images; "" if none does."""
    if data.source is None:
      return ""
    assert data.sizes is not None
    words, sets = [], zip(data.source, data.present, data.sizes, strict=True)
    labels = [data.labels[source][present[:size]] for source, present, size in sets]
    few = sum(len(each) < batch_size for each in labels)
    lacking = sum(len(np.unique(each)) < num_classes for each in labels)
    if lacking:
      words.append(f"{lacking} lack a class")
    if few:
      words.append(f"{few} have less than a batch, and stay as they began")
    return (
      f"of {len(labels)} networks' training sets {' and '.join(words)}" if words else ""
    )

  def joined(self, params: types.Params) -> types.Params:
    """Parameters of networks `[V M, ...]` as those of victims `[V, M, ...]`."""
    return jax.tree.map(
      lambda leaf: leaf.reshape(-1, self.num_models, *leaf.shape[1:]), params
    )
