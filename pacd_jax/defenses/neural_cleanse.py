"""Neural Cleanse: the smallest trigger for each label, and labels whose is too small.

Wang et al. (2019), https://doi.org/10.1109/SP.2019.00031. It looks at a finished network
and needs clean images, no training set: a detector of backdoors, not a defence of the
training set. With few classes its index is unstable: that of a clean network can be above
the usual threshold of 2, so that several clean ones belong beside it.
"""

import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import types

THRESHOLD = 2.0  # An index above it is suspicious.
_CONSISTENCY = 1.4826  # MAD to standard deviation, of a normal distribution.


class Settings(NamedTuple):
  """The settings of the search for triggers.

  The numbers of steps and batches are ours: the authors' code,
  https://github.com/bolunwang/backdoor, has at most 1,000 steps of 31 batches. The others
  are its.
  """

  num_steps: int = 100
  num_batches: int = 10  # Updates of a step; success is judged after it, on all of them.
  batch_size: int = 32
  learning_rate: float = 0.1  # Of Adam.
  cost: float = (
    1e-3  # Weight of the mask's norm after the first steps of success; 0 before.
  )
  patience: int = 5  # Steps of success, or without, after which the weight changes.
  factor: float = 2.0  # By which it rises; it falls by factor^(3/2).
  success: float = 0.99  # Share of a step's images that must get the label.


DEFAULTS = Settings()


class Triggers(NamedTuple):
  """The smallest trigger found for each of K labels."""

  masks: np.ndarray  # float32 `[K, H, W]` in [0, 1].
  patterns: np.ndarray  # float32 `[K, H, W, C]` in [0, 1].
  norms: np.ndarray  # float64 `[K]`: the sums of the masks.
  reached: np.ndarray  # bool `[K]`: whether any step was a success.


class _State(NamedTuple):
  """The search for one label."""

  raw: Any  # Mask and pattern before `_squashed`.
  opt_state: Any
  cost: types.Array
  ups: types.Array  # Steps in succession with success,
  downs: types.Array  # and without.
  norm: types.Array  # Of the best mask.
  best: Any  # Mask and pattern.


def find(
  apply: types.ApplyFn,
  params: types.Params,
  images: types.Array,
  num_classes: int,
  key: types.Key,
  settings: Settings = DEFAULTS,
) -> Triggers:
  """Finds a small mask and a pattern that give all images a label, for each label.

    min_(m, p) E CE(f((1 - m) x + m p), label) + cost |m|_1,  m, p in [0, 1]

  by Adam on mini-batches. The cost is 0 until some steps in succession are a success; from
  then on it rises after some steps of success and falls after some without, and the
  smallest mask of a successful step is kept. The authors' code stops early, goes through
  the images in order, and judges a step while its mask changes; here all steps are made, of
  all labels at once, batches are drawn with replacement, and the mask that is kept is the
  one that was judged.

  Args:
    apply: logits of the network f.
    params: its parameters.
    images: float32 `[N, H, W, C]` in [0, 1], clean, of all classes.
    num_classes: K.
    key: consumed.
    settings: those of the search.

  Returns:
    The triggers; a label that no mask reached has the norm H W, of a mask of ones.
  """
  chex.assert_rank(images, 4)
  keys = jax.random.split(key, num_classes)
  labels = jnp.arange(num_classes)
  found = _find_all(apply, settings, params, jnp.asarray(images), labels, keys)
  masks, patterns, norms = jax.device_get(found)
  height, width = masks.shape[1:3]
  reached = np.isfinite(norms)
  norms = np.where(reached, norms, height * width).astype(np.float64)
  return Triggers(masks[..., 0], patterns, norms, reached)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _find_all(apply, settings, params, images, labels, keys):
  of_one = functools.partial(_find_one, apply, settings, params, images)
  return jax.vmap(of_one)(labels, keys)


def _squashed(raw):
  return jax.tree.map(lambda each: (jnp.tanh(each) + 1.0) / 2.0, raw)


def _find_one(apply, settings, params, images, label, key):
  """The mask `[H, W, 1]`, the pattern and the norm, inf if there was no success."""
  optimizer = optax.adam(settings.learning_rate, b1=0.5, b2=0.9)
  shape = images.shape[1:]
  mask_key, pattern_key, batch_key = jax.random.split(key, 3)

  def start(key, shape):
    drawn = jax.random.uniform(key, shape, jnp.float32, 0.01, 0.99)
    return jnp.arctanh(2.0 * drawn - 1.0)

  raw = {
    "mask": start(mask_key, (*shape[:2], 1)),
    "pattern": start(pattern_key, shape),
  }

  def logits(raw, batch):
    mask, pattern = _squashed(raw)["mask"][None], _squashed(raw)["pattern"][None]
    return apply(params, (1.0 - mask) * batch + mask * pattern), mask.sum()

  def loss(raw, batch, cost):
    found, norm = logits(raw, batch)
    wanted = jnp.full(len(batch), label)
    entropy = optax.softmax_cross_entropy_with_integer_labels(found, wanted).mean()
    return entropy + cost * norm

  def update(carry, batch, cost):
    raw, opt_state = carry
    updates, opt_state = optimizer.update(jax.grad(loss)(raw, batch, cost), opt_state)
    return (optax.apply_updates(raw, updates), opt_state), None

  def step(number, state):
    size = settings.num_batches, settings.batch_size
    own = jax.random.fold_in(batch_key, number)
    batches = images[jax.random.randint(own, size, 0, len(images))]
    (raw, opt_state), _ = jax.lax.scan(
      functools.partial(update, cost=state.cost), (state.raw, state.opt_state), batches
    )
    found, _ = logits(raw, batches.reshape(-1, *shape))
    is_success = (found.argmax(axis=-1) == label).mean() >= settings.success
    now = _squashed(raw)
    norm = now["mask"].sum()
    is_best = is_success & (norm < state.norm)
    ups = jnp.where(is_success, state.ups + 1, 0)
    downs = jnp.where(is_success, 0, state.downs + 1)
    rises, falls = ups >= settings.patience, downs >= settings.patience
    risen = jnp.where(state.cost > 0.0, settings.factor * state.cost, settings.cost)
    cost = jnp.where(rises, risen, state.cost)
    cost = cost / jnp.where(falls, settings.factor**1.5, 1.0)
    return _State(
      raw,
      opt_state,
      cost,
      jnp.where(rises, 0, ups),
      jnp.where(falls, 0, downs),
      jnp.where(is_best, norm, state.norm),
      jax.tree.map(lambda new, old: jnp.where(is_best, new, old), now, state.best),
    )

  whole = jax.tree.map(jnp.ones_like, raw)
  zero, cost = jnp.int32(0), jnp.float32(0.0)
  state = _State(raw, optimizer.init(raw), cost, zero, zero, jnp.float32(jnp.inf), whole)
  state = jax.lax.fori_loop(0, settings.num_steps, step, state)
  return state.best["mask"], state.best["pattern"], state.norm


# --- the index ------------------------------------------------------------------------


def anomaly_indices(norms: np.ndarray) -> np.ndarray:
  """|v - median| / (1.4826 MAD) of each norm: float64 `[K]`.

  MAD is the median absolute deviation from the median. Where it is 0, the index is 0 for
  the median itself and inf for others. Scaling all norms leaves it as it is.

  Args:
    norms: `[K]`, the labels' smallest triggers.
  """
  norms = np.asarray(norms, np.float64)
  away = np.abs(norms - np.median(norms))
  mad = _CONSISTENCY * np.median(away)
  if mad > 0.0:
    return away / mad
  return np.where(away > 0.0, np.inf, 0.0)


class Finding(NamedTuple):
  """What the norms of one network say."""

  label: int | None  # That of the smallest trigger; None: too few labels were reached.
  index: float  # Its anomaly index, of the norms below the median alone.
  flagged: tuple[int, ...]  # Labels below the median with an index above `THRESHOLD`.


def judge(norms: np.ndarray, reached: np.ndarray) -> Finding:
  """Which labels have a trigger that is too small: only those below the median can.

  Median and MAD are of the labels that were reached: others have no trigger, whose norm
  could be compared. With fewer than half of them nothing is found.

  Args:
    norms: `[K]`, the labels' smallest triggers.
    reached: bool `[K]`, as in `Triggers`.
  """
  labels = np.flatnonzero(reached)
  if 2 * len(labels) < len(norms):
    return Finding(None, 0.0, ())
  there = np.asarray(norms, np.float64)[labels]
  indices = np.where(there < np.median(there), anomaly_indices(there), 0.0)
  smallest = int(np.argmin(there))
  flagged = tuple(labels[indices > THRESHOLD].tolist())
  return Finding(int(labels[smallest]), float(indices[smallest]), flagged)
