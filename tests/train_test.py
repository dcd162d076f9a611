"""Training: seeds apart and together, resumed epochs, and a problem it must solve."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest

from pacd_jax import losses, models, train, types


def _separable(num=60):
  """Two classes that differ in one pixel."""
  rng = np.random.default_rng(0)
  labels = (np.arange(num) % 2).astype(np.int32)
  images = rng.integers(0, 100, (num, 2, 2, 1), np.uint8)
  images[:, 0, 0, 0] = np.where(labels == 1, 220, 20)
  return types.Dataset(images, labels)


def _trainer(optimizer=None):
  model = models.make("linear", num_classes=2, image_shape=(2, 2, 1))
  loss = losses.gaussian_augmentation(model.apply, sigma=0.1)
  optimizer = optimizer or optax.adam(0.05)
  return model, train.make(model, loss, optimizer, image_shape=(2, 2, 1), batch_size=16)


def _arrays(dataset):
  return jnp.asarray(dataset.images / np.float32(255.0)), jnp.asarray(dataset.labels)


def _train(trainer, keys, num_epochs, state=None):
  images, labels = _arrays(_separable())
  state = trainer.init(keys) if state is None else state
  for _ in range(num_epochs):
    state, metrics = trainer.epoch(state, images, labels, keys)
  return state, metrics


class TrainTest(absltest.TestCase):
  def test_learns_a_separable_problem(self):
    model, trainer = _trainer()
    keys = train.victim_keys(jax.random.key(0), 3)
    state, metrics = _train(trainer, keys, 30)
    self.assertEqual(metrics["loss"].shape, (3,))
    self.assertLess(float(metrics["loss"].max()), 0.2)
    for victim in range(3):
      params = jax.tree.map(lambda leaf, k=victim: leaf[k], state.params)
      self.assertEqual(train.accuracy(model.apply, params, _separable(), batch_size=7), 1.0)

  def test_victims_do_not_see_each_other(self):
    _, trainer = _trainer()
    keys = train.victim_keys(jax.random.key(0), 3)
    together, _ = _train(trainer, keys, 2)
    alone, _ = _train(trainer, keys[1:2], 2)
    for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
      np.testing.assert_allclose(a[1], b[0], rtol=1e-5, atol=1e-7)
    kernel = together.params["Dense_0"]["kernel"]
    self.assertGreater(float(jnp.abs(kernel[0] - kernel[1]).max()), 1e-3)

  def test_more_victims_leave_the_first_ones_as_they_are(self):
    few = train.victim_keys(jax.random.key(0), 2)
    many = train.victim_keys(jax.random.key(0), 4)
    np.testing.assert_array_equal(jax.random.key_data(few), jax.random.key_data(many)[:2])

  def test_epochs_compose(self):
    _, trainer = _trainer()
    keys = train.victim_keys(jax.random.key(0), 2)
    whole, _ = _train(trainer, keys, 5)
    half, _ = _train(trainer, keys, 2)
    rest, _ = _train(trainer, keys, 3, half)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(rest), strict=True):
      np.testing.assert_array_equal(a, b)

  def test_first_step_is_the_optimisers_on_the_losss_gradient(self):
    """One batch of everything under SGD: theta - lr grad L, with the step's own noise."""
    dataset = _separable(8)
    images, labels = _arrays(dataset)
    model = models.make("linear", num_classes=2, image_shape=(2, 2, 1))
    loss = losses.standard(model.apply)
    trainer = train.make(model, loss, optax.sgd(0.5), image_shape=(2, 2, 1), batch_size=8)
    keys = train.victim_keys(jax.random.key(0), 1)
    before = trainer.init(keys)
    after, _ = trainer.epoch(before, images, labels, keys)
    params = jax.tree.map(lambda leaf: leaf[0], before.params)
    gradient = jax.grad(lambda params: loss(params, images, labels, jax.random.key(9))[0])(
      params
    )
    expected = jax.tree.map(lambda leaf, g: leaf - 0.5 * g, params, gradient)
    for a, b in zip(jax.tree.leaves(after.params), jax.tree.leaves(expected), strict=True):
      np.testing.assert_allclose(a[0], b, rtol=1e-5, atol=1e-6)


if __name__ == "__main__":
  absltest.main()
