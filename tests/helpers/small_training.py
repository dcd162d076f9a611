"""Small trainings of a linear classifier, for tests of victims and of their rows."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import losses, noise, train, types
from pacd_jax.data import training_sets
from pacd_jax.experiment.entries import networks


def separable(num=60):
  """Two classes that differ in one pixel."""
  rng = np.random.default_rng(0)
  labels = (np.arange(num) % 2).astype(np.int32)
  images = rng.integers(0, 100, (num, 2, 2, 1), np.uint8)
  images[:, 0, 0, 0] = np.where(labels == 1, 220, 20)
  return types.Dataset(images, labels)


def make(**kwargs):
  """A model and its trainer, in batches of 16 images."""
  model = networks.make("linear", num_classes=2, image_shape=(2, 2, 1))
  loss = kwargs.pop("loss", losses.gaussian_augmentation(model.apply, sigma=0.1))
  options = dict(image_shape=(2, 2, 1), num_epochs=1, batch_size=16) | kwargs
  optimizer_of = options.pop("optimizer_of", lambda num_steps: optax.adam(0.05))
  return model, train.make(model, loss, optimizer_of, **options)


def shifted(num_rows):
  """Training sets that share their labels."""
  whole = training_sets.whole(separable())
  shifts = np.arange(0, 20 * num_rows, 20, dtype=np.uint8)
  return [whole._replace(images=whole.images + shift) for shift in shifts]


def run(trainer, keys, num_epochs, *, sets=None, rows=None, state=None, recovery=None):
  """The state after so many epochs on rows of `sets`, and the last one's metrics.

  `recovery` is the row that all victims recover on.
  """
  data = training_sets.stack(sets or shifted(1))
  rows = np.zeros(len(keys), np.int32) if rows is None else np.asarray(rows, np.int32)
  if recovery is not None:
    recovery = np.full_like(rows, recovery)
  data, rows, recovery = jax.tree.map(jnp.asarray, (data, rows, recovery))
  state = trainer.init(keys) if state is None else state
  for _ in range(num_epochs):
    state, metrics = trainer.epoch(state, data, rows, keys, recovery)
  return state, metrics


def of_victim(state, victim):
  return jax.tree.map(lambda leaf: leaf[victim], state)


def assert_close(a, b):
  for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-6)


def recorded(num_epochs, sets=None, **options):
  """Of every epoch the mean over steps of strength, and of the noise of each image."""

  def outputs(params, inputs, key):
    del params
    images, strength = inputs
    return noise.draw(key, 1, images)[0].sum(axis=(1, 2, 3)), strength

  def criterion(logits, labels):
    eta, strength = logits
    of_first = jnp.where(labels == 0, eta, 0.0).sum()  # One image has this label.
    return strength, {"accuracy": of_first}

  def adversary(params, images, labels, key, strength):
    del params, labels, key
    return images, jnp.float32(strength)

  loss = types.Loss(outputs, criterion, adversary)
  trainer = make(loss=loss, **dict(batch_size=4) | options)[1]
  keys, state, found = train.victim_keys(jax.random.key(0), 1), None, []
  if sets is None:
    images = np.zeros((8, 2, 2, 1), np.uint8)
    sets = [training_sets.whole(types.Dataset(images, np.arange(8)))]
  for _ in range(num_epochs):
    state, metrics = run(trainer, keys, 1, sets=sets, state=state)
    found.append((float(metrics["loss"][0]), float(metrics["accuracy"][0])))
  return np.array(found).T
