"""The bilevel problem of PACD on one mini-batch: its data, its settings, its two levels.

Section 3.2 of Mehra et al. (2021), https://arxiv.org/abs/2012.01274. Where the robust loss
has an adversary (SmoothAdv), the lower level is the paper's approximation: the batch's
images are attacked at the current theta, and u + delta, with delta constant, is used both
for training and for the derivative in u.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import noise, types
from pacd_jax.attacks import step_rules
from pacd_jax.data import arrays, batches


class AttackData(NamedTuple):
  """The attacker's data on the device; uint8 images may also be float32 in [0, 1]."""

  # uint8 `[N - n, H, W, C]`, never changed: the other classes, and the images of the target
  # class that are not poisoned.
  clean_images: types.Array
  clean_labels: types.Array  # int32 `[N - n]`
  base_images: types.Array  # float32 `[n, H, W, C]` in [0, 1]: the images to be poisoned.
  base_labels: types.Array  # `[n]`
  # uint8 `[m, H, W, C]`: the target class of the validation split, or the target points.
  val_images: types.Array
  val_labels: types.Array  # `[m]`


class Settings(NamedTuple):
  """The settings of an attack; defaults are those of the authors' code for MNIST.

  The exception is the poison's step: theirs is Adam's with rate 0.1, ours follows the
  steepest direction of the budget's norm.
  """

  model: types.Model  # The surrogate's architecture.
  loss: types.Loss  # The victim's training loss, of that model.
  hypergradient: types.HypergradientFn  # Such as `approx_grad` with its solver bound.
  optimizer: optax.GradientTransformation  # The optimiser of the surrogate's parameters.
  objective: types.ObjectiveFn  # The upper level, such as `objectives.soft_acr`.
  epsilon: float  # Budget of one image's perturbation, in image units.
  norm: str = "linf"  # Norm of the budget: "linf" or "l2".
  clean_batch: int = 900  # Clean images in a lower-level batch.
  poison_batch: int = 100  # Target images in a lower-level batch.
  val_batch: int = 100  # Validation images in the upper level.
  # What the victim does to its training images, clean or poisoned, as the attack knows it.
  transform: types.TransformFn | None = None
  augment: types.AugmentFn | None = None  # Random augmentation of both levels' images.
  mix: types.MixFn | None = None  # The victim's mixing, as the attack knows it.
  penalties: tuple[types.PenaltyFn, ...] = ()  # Added to the objective.
  noise: str = "fresh"  # The lower level's noise; "fixed": one draw per image.
  val_noise: str = "fresh"  # The upper level's, likewise.
  # Optimiser steps of a surrogate over which the radius of the loss's adversary rises
  # linearly to its full size; 0: no warm-up.
  adversary_warmup: int = 0
  lower_steps: int = 10  # T1: optimiser steps on theta in an outer step.
  warmup_steps: int = 0  # Optimiser steps of a fresh surrogate before it is attacked.
  num_surrogates: int = 1  # M: models of the victim, restarted in turn.
  surrogates_at_once: int = 0  # Surrogates in one vmap; 0: all of them.
  # `first_start(params)`: what the first solve of a surrogate starts from; each later one
  # starts from the end of the last. None: every solve starts from zero.
  first_start: Callable[[types.Params], Any] | None = None
  # The first outer steps move one perturbation shared by the class along the batch's mean
  # hypergradient; later steps move each image of the batch along its own.
  num_shared_steps: int = 0
  num_frequencies: int = 0  # Lowest frequencies of each axis that du keeps; 0: all.
  zero_mean: bool = False  # The perturbations' mean over the class is taken off.
  step_rule: step_rules.StepRule = step_rules.SIGN
  normalize: bool = False  # Scale each surrogate's du to norm 1 before taking the mean.
  # Length of an outer step's move, in image units, by the step's number.
  step_size: optax.Schedule = optax.constant_schedule(0.1)
  # In [0, 1): weight of the past in the running mean of hypergradients that gives the
  # step's direction. Unless hypergradients are normalised, those of steps with few
  # correctly classified validation points are small and noisy, and have little weight.
  momentum: float = 0.0


class Batch(NamedTuple):
  """One mini-batch of the lower level."""

  images: types.Array  # `[c, H, W, C]` clean images.
  labels: types.Array  # `[c + p]`: clean, then poison.
  rows: types.Array  # `[p]`: which target images the poison part holds.
  noise_keys: types.Key | None = None  # `[c + p]`: per-image keys; None: fresh noise.


# The random streams of a run, folded into its key.
(
  INIT,
  CLEAN,
  POISON,
  VAL,
  VAL_NOISE,
  LOWER_NOISE,
  RESTART,
  VAL_CHANGE,
  FIXED_NOISE,
  START,
  SELECTION_TRAIN,
  SELECTION_CERTIFY,
  LOWER_REDRAW,
  VAL_REDRAW,
  FIXED_VAL_NOISE,
) = range(15)


def attack_data(
  splits: types.Splits,
  target_class: int,
  *,
  poisoned: np.ndarray | None = None,
  points: np.ndarray | None = None,
) -> AttackData:
  """The attacker's data: training split, and the target class of the validation split.

  With `points` the threat model is that of Appendix D.6 of Mehra et al. (2021): the
  attacker knows these test points, and attacks them alone.

  Args:
    splits: the splits of the data set.
    target_class: the class that is attacked.
    poisoned: int `[n]`, positions of the training images of the class to poison, in order;
      None: all of the class. The other images stay clean.
    points: int `[m]`, positions in the test split of the points that replace the class's
      validation images; None: the validation images are used.

  Raises:
    errors.InputError: a split has no image of the class.
  """
  target = poisoned
  if target is None:
    target = arrays.class_indices(splits.train, target_class)
  clean = np.setdiff1d(np.arange(len(splits.train.labels)), target)
  seen, val = splits.test, points
  if val is None:
    seen, val = splits.validation, arrays.class_indices(splits.validation, target_class)
  return AttackData(
    jnp.asarray(splits.train.images[clean]),
    jnp.asarray(splits.train.labels[clean]),
    jnp.asarray(arrays.to_float(splits.train.images[target])),
    jnp.asarray(splits.train.labels[target]),
    jnp.asarray(seen.images[val]),
    jnp.asarray(seen.labels[val]),
  )


def fold(key: types.Key, stream: int, number: types.Array | int) -> types.Key:
  """The key of one step of one stream."""
  return jax.random.fold_in(jax.random.fold_in(key, stream), number)


def draw_batch(
  settings: Settings,
  attack_data: AttackData,
  order_key: types.Key,
  step_number: types.Array,
  key: types.Key,
) -> Batch:
  """A mini-batch in the order drawn from `order_key`; `key` gives the fixed noise."""
  clean = batches.batch_indices(
    jax.random.fold_in(order_key, CLEAN),
    step_number,
    num_examples=len(attack_data.clean_images),
    batch_size=settings.clean_batch,
  )
  rows = batches.batch_indices(
    jax.random.fold_in(order_key, POISON),
    step_number,
    num_examples=len(attack_data.base_images),
    batch_size=settings.poison_batch,
  )
  labels = [attack_data.clean_labels[clean], attack_data.base_labels[rows]]
  images = arrays.to_float(attack_data.clean_images[clean])
  noise_keys = None
  if settings.noise == "fixed":
    indices = jnp.concatenate([clean, len(attack_data.clean_images) + rows])
    noise_keys = noise.of_images(jax.random.fold_in(key, FIXED_NOISE), indices)
  return Batch(images, jnp.concatenate(labels), rows, noise_keys)


def lower_level(
  settings: Settings,
  batch: Batch,
  key: types.Key,
  inputs: Callable[[types.Array], Any] | None = None,
) -> types.LowerLevel:
  """zeta of Algorithm 1: the robust loss on the batch, its noise fixed by the key.

  `inputs(poison)` gives the attacked images that the loss takes, where it has an adversary.
  """
  loss = settings.loss
  if settings.mix is not None:  # Any images have the same partners.
    blank = jnp.zeros((len(batch.labels), *batch.images.shape[1:]), jnp.float32)
    _, mix_key, _ = _keys(settings, batch, jax.random.clone(key))
    loss = settings.mix(mix_key, blank).loss(loss)

  def outputs(params, poison):
    # The key is reused on purpose: the loss is one function of (theta, u).
    *keys, noise_key = _keys(settings, batch, jax.random.clone(key))
    images = _images(settings, batch, poison, *keys) if inputs is None else inputs(poison)
    return loss.outputs(params, images, noise_key)

  def criterion(logits):
    return loss.criterion(logits, batch.labels)[0]

  convex, reverse = loss.convex, settings.model.reverse_products
  if convex is None:
    return types.LowerLevel(outputs, criterion, reverse_products=reverse)
  return types.LowerLevel(
    outputs,
    criterion,
    lambda logits: convex(logits, batch.labels),
    reverse_products=reverse,
  )


def _keys(settings, batch, key) -> tuple[Any, Any, types.Key]:  # None: not needed.
  change_key = mix_key = None
  if settings.augment is not None:
    change_key, key = jax.random.split(key)
  if settings.mix is not None:
    mix_key, key = jax.random.split(key)
  if batch.noise_keys is not None:
    key = jax.random.clone(batch.noise_keys)
  return change_key, mix_key, key


def _images(settings, batch, poison, change_key, mix_key):
  """The batch's images as the victim changes them, in a victim's order."""
  images = jnp.concatenate([batch.images, poison])
  if settings.transform is not None:
    images = settings.transform(images)
  if settings.augment is not None:
    images = settings.augment(change_key, images)
  return images if mix_key is None else settings.mix(mix_key, images).images


def attacked(
  settings: Settings,
  batch: Batch,
  params: types.Params,
  poison: types.Array,
  key: types.Key,
  age: types.Array,
) -> Callable[[types.Array], Any] | None:
  """The batch attacked by the loss's adversary at theta, for `lower_level`.

    u -> (clean, u) + delta,  delta = argmax of the adversary's loss at (theta, poison)

  Section 3.2 of Mehra et al. (2021): delta is constant, in theta and in u. `age` is the
  surrogate's age, which sets the warm-up of the radius. Returns None for a loss without an
  adversary.
  """
  if settings.loss.adversary is None:
    return None
  strength = jnp.minimum((age + 1) / max(settings.adversary_warmup, 1), 1.0)

  def attacked(poison):
    *keys, noise_key = _keys(settings, batch, jax.random.clone(key))
    images = _images(settings, batch, poison, *keys)
    return settings.loss.adversary(params, images, batch.labels, noise_key, strength)

  inputs, push = jax.linearize(attacked, poison)
  return lambda u: jax.tree.map(jnp.add, inputs, push(u - poison))


def upper_level(
  settings: Settings, attack_data: AttackData, key: types.Key, step_number: types.Array
) -> types.UpperLevel:
  """xi of Algorithm 1: the objective on the attacker's validation images."""
  rows = batches.batch_indices(
    jax.random.fold_in(key, VAL),
    step_number,
    num_examples=len(attack_data.val_images),
    batch_size=settings.val_batch,
  )
  labels = attack_data.val_labels[rows]

  def drawn(noise_key, change_key):
    images = arrays.to_float(attack_data.val_images[rows])
    if settings.augment is not None:
      images = settings.augment(change_key, images)
    if settings.val_noise == "fixed":
      noise_key = noise.of_images(jax.random.fold_in(key, FIXED_VAL_NOISE), rows)

    def upper(params, poison):
      del poison  # The certificate depends on the poison through theta alone.
      fixed = jax.random.clone(noise_key)  # Reused on purpose: a function of theta alone.
      return settings.objective(params, images, labels, fixed)

    return upper

  def redraw(number):
    redraw_key = jax.random.fold_in(fold(key, VAL_REDRAW, step_number), number)
    return drawn(*jax.random.split(redraw_key))

  first = fold(key, VAL_NOISE, step_number), fold(key, VAL_CHANGE, step_number)
  return types.UpperLevel(drawn(*first), redraw)
