"""An ensemble as one base classifier: many networks, and one prediction of their votes."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import types
from pacd_jax.defenses.aggregation import scheme as schemes

_NUMBERS_AT_ONCE = 2**24  # Of activations in one vmap: those of more networks leave caches.
_NUMBERS_PER_PIXEL = 64  # About so many activations.
_STREAM = 5  # The stream of the networks' keys, beside those of one network's training.


def model_keys(key: types.Key, num_models: int) -> types.Key:
  """The keys of a victim's networks, `[M]`; the victim's is folded, not consumed."""
  own = jax.random.fold_in(key, _STREAM)
  return jax.vmap(lambda number: jax.random.fold_in(own, number))(jnp.arange(num_models))


def make(network: types.Model, scheme: schemes.Scheme) -> types.Model:
  """The ensemble as a model: parameters `[M, ...]`, and 1 for the class predicted, else 0.

  A network with a logit that is not finite makes the image's outputs NaN.

  Args:
    network: the networks' architecture.
    scheme: what their votes predict.
  """

  def init(key, image_shape):
    keys = model_keys(key, scheme.num_models)
    return jax.vmap(lambda each: network.init(each, image_shape))(keys)

  def apply(params, images):
    logits = logits_of(network.apply, params, images)
    return _one_hot(scheme.predict(logits), logits, logits.shape[-1])

  return types.Model(
    init,
    apply,
    undescribed="it is an ensemble's vote (train.ensemble): use train.ensemble."
    "aggregation=none",
  )


def logits_of(
  apply: types.ApplyFn, params: types.Params, images: types.Array
) -> types.Array:
  """The logits of all networks, float32 `[M, B, K]`, in chunks that bound the memory."""
  at_once = max(1, _NUMBERS_AT_ONCE // (_NUMBERS_PER_PIXEL * images.size))
  return jax.lax.map(lambda one: apply(one, images), params, batch_size=at_once)


@functools.cache  # One function, and so one compiled program, for all victims.
def joint(
  network: types.Model, scheme: schemes.Scheme, images_poisoned: tuple[int, ...]
) -> types.ApplyFn:
  """The ensemble as a classifier into K classes at J levels of trust, `[B, J K]`.

  The output is 1 at place j K + c if the prediction is c, and its certificate holds for
  `images_poisoned[j]` changes but not for `images_poisoned[j + 1]`. So votes at places of
  j' >= j are of noisy copies that are predicted c whichever m_j images are poisoned.

  Args:
    network: the networks' architecture.
    scheme: one whose networks have images of their own.
    images_poisoned: m_0, ..., m_{J-1}, rising from 0.
  """
  levels = jnp.asarray(images_poisoned)

  def apply(params, images):
    logits = logits_of(network.apply, params, images)
    prediction, radius = scheme.certify(logits)
    level = jnp.searchsorted(levels, radius, side="right") - 1
    num_classes = logits.shape[-1]
    place = level * num_classes + prediction
    return _one_hot(place, logits, len(images_poisoned) * num_classes)

  return apply


def _one_hot(place: types.Array, logits: types.Array, size: int) -> types.Array:
  is_finite = jnp.isfinite(logits).all(axis=(0, 2))
  return jnp.where(
    is_finite[:, None], jax.nn.one_hot(place, size, dtype=jnp.float32), jnp.nan
  )


def rows(
  sets: Sequence[types.TrainingSet], stacked: types.Rows, scheme: schemes.Scheme
) -> types.Rows:
  """The training sets of every network of every row: set r M + i is network i's of row r.

  Args:
    sets: the rows' training sets.
    stacked: the same for the device.
    scheme: what each network sees.
  """
  assert scheme.members is not None
  found = [scheme.members(each) for each in sets]
  most = max(members.positions.shape[1] for members in found)
  positions = [
    np.pad(m.positions, ((0, 0), (0, most - m.positions.shape[1]))) for m in found
  ]
  return stacked._replace(
    present=np.concatenate(positions),
    sizes=np.concatenate([members.sizes for members in found]),
    source=np.repeat(np.arange(len(sets), dtype=np.int32), scheme.num_models),
  )
