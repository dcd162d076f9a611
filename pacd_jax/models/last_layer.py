"""The last layer of a network: which of its parameters the features do not depend on."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.interpreters import partial_eval

from pacd_jax import errors, types


class Frozen(NamedTuple):
  """A trained network whose features others keep: they train its last layer alone."""

  is_last: types.Params  # A bool for each array of its parameters.
  params: Callable[[], types.Params]  # Trained at the first call.


def find(model: types.Model, image_shape: tuple[int, int, int], name: str) -> types.Params:
  """Which arrays of a network's parameters are its last layer's: a bool for each.

  They are those that the features are computed without, whatever their values are: it is
  read off the traced computation, which is not compiled.

  Args:
    model: the network.
    image_shape: `(H, W, C)`.
    name: what errors call it.

  Raises:
    errors.InputError: the network shows no features, or has no other layer.
  """
  features = model.features
  without = errors.InputError(
    f"model.name={name} has no layer before its last, whose features victims could keep: "
    "use model.name=mlp or a CNN, or train.frozen_features="
  )
  if features is None:
    raise without
  params = jax.eval_shape(lambda key: model.init(key, image_shape), jax.random.key(0))
  images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  traced = jax.make_jaxpr(features)(params, images).jaxpr
  _, is_used = partial_eval.dce_jaxpr(traced, [True] * len(traced.outvars))
  leaves, structure = jax.tree.flatten(params)
  is_last = structure.unflatten([not used for used in is_used[: len(leaves)]])
  if all(jax.tree.leaves(is_last)):
    raise without
  return is_last


def joined(
  is_last: types.Params, kept: types.Params, trained: types.Params
) -> types.Params:
  """The trained last layer behind the layers that are kept."""
  return jax.tree.map(
    lambda last, a, b: b if last else a,
    is_last,
    kept,
    trained,
  )
