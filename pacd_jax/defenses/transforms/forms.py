"""What transforms share: their two forms, and derivatives that pass straight through.

A transform T changes every image by itself. As a `types.DefenceFn` it changes the training
images, and victims are plain networks f that are trained on T(x). Inside a classifier, the
victim is f(T(x)) in training, in its accuracy and in its certificate; randomized smoothing
asks nothing of the classifier that it certifies, so the certificate holds for f(T(x)).
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import types
from pacd_jax.data import arrays, training_sets

_AT_ONCE = 1000  # Training images at a time.


# --- the two forms --------------------------------------------------------------------


def of_training_set(transform: types.TransformFn) -> types.DefenceFn:
  """The defence that replaces every training image that is present by T(x), in 8 bits."""

  def defence(training_set, key, tools):
    del key, tools
    return changed(training_set, lambda images: on_uint8(transform, images))

  return defence


def changed(
  training_set: types.TrainingSet,
  function: Callable[[np.ndarray], np.ndarray],
  values: Mapping[str, float] | None = None,
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """The set with changed images, and the report; absent images stay as they are.

  Args:
    training_set: the set; not modified.
    function: takes and returns uint8 `[n, H, W, C]`.
    values: the report's `values`.
  """
  images = training_set.images.copy()
  images[training_set.present] = function(images[training_set.present])
  after = training_set._replace(images=images)
  return after, training_sets.difference(training_set, after, values)


def on_uint8(transform: types.TransformFn, images: np.ndarray) -> np.ndarray:
  """round(255 T(x / 255)), uint8 `[n, H, W, C]`, of such images."""
  compiled, found = jax.jit(transform), np.empty_like(images)
  for start in range(0, len(images), _AT_ONCE):
    some = slice(start, start + _AT_ONCE)
    levels = 255.0 * np.asarray(compiled(arrays.to_float(images[some])))
    found[some] = np.clip(np.rint(levels), 0, 255)
  return found


def before(model: types.Model, transforms: Sequence[types.TransformFn]) -> types.Model:
  """The classifier f(T(x)), with T the transforms one after the other.

  Its features are those of f at T(x). Transforms compute in float32 also where the network
  computes in another type.
  """
  if not transforms:
    return model

  def transformed(images):
    x = images.astype(jnp.float32)
    for transform in transforms:
      x = transform(x)
    return x.astype(images.dtype)

  def of(function):
    return lambda params, images: function(params, transformed(images))

  features = None if model.features is None else of(model.features)
  return model._replace(
    apply=of(model.apply),
    features=features,
    describe=None,
    undescribed="the classifier has transforms inside (defense.inside): leave them out",
  )


# --- parts of transforms --------------------------------------------------------------


def rounded(x: types.Array) -> types.Array:
  """x rounded to whole numbers, halves away from 0; its derivative is the identity's."""
  return through(x, jnp.sign(x) * jnp.floor(jnp.abs(x) + 0.5))


def through(x: types.Array, value: types.Array) -> types.Array:
  """The value, with the derivative of x: the straight-through estimator.

  Bengio et al. (2013), https://arxiv.org/abs/1308.3432; as an attack on defences, BPDA of
  Athalye et al. (2018), https://arxiv.org/abs/1802.00420.
  """
  return jax.lax.stop_gradient(value) + (x - jax.lax.stop_gradient(x))


def in_box(images: types.Array) -> types.Array:
  """Images cut to [0, 1]; the derivative is 1 in the closed interval and 0 outside."""
  is_inside = (images >= 0.0) & (images <= 1.0)
  return jnp.where(is_inside, images, jax.lax.stop_gradient(jnp.clip(images, 0.0, 1.0)))
