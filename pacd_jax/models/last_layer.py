"""The last layer of a network: which of its parameters the features do not depend on."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types


class Frozen(NamedTuple):
  """A trained network whose features others keep: they train its last layer alone."""

  is_last: types.Params  # A bool for each array of its parameters.
  params: Callable[[], types.Params]  # Trained at the first call.


def find(model: types.Model, image_shape: tuple[int, int, int], name: str) -> types.Params:
  """Which arrays of a network's parameters are its last layer's: a bool for each.

  They are those in which the features of random images have no derivative.

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
  key = jax.random.key(0)
  params = model.init(key, image_shape)
  images = jax.random.uniform(jax.random.fold_in(key, 1), (8, *image_shape), jnp.float32)

  def total(params):
    found = features(params, images)
    signs = jax.random.rademacher(jax.random.fold_in(key, 2), found.shape, jnp.float32)
    return jnp.vdot(found, signs)

  gradient = jax.jit(jax.grad(total))(params)
  is_last = jax.tree.map(lambda leaf: not np.any(np.asarray(leaf)), gradient)
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
