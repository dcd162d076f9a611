"""Training: victims apart and together, resumed epochs, and a problem it must solve."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized

from pacd_jax import losses, noise, train, types
from pacd_jax.data import arrays
from pacd_jax.experiment.entries import networks


def _separable(num=60):
  """Two classes that differ in one pixel."""
  rng = np.random.default_rng(0)
  labels = (np.arange(num) % 2).astype(np.int32)
  images = rng.integers(0, 100, (num, 2, 2, 1), np.uint8)
  images[:, 0, 0, 0] = np.where(labels == 1, 220, 20)
  return types.Dataset(images, labels)


def _trainer(**kwargs):
  model = networks.make("linear", num_classes=2, image_shape=(2, 2, 1))
  loss = losses.gaussian_augmentation(model.apply, sigma=0.1)
  options = dict(image_shape=(2, 2, 1), batch_size=16) | kwargs
  return model, train.make(model, loss, optax.adam(0.05), **options)


def _rows(num_rows):
  """Training sets that share their labels, uint8 `[R, N, 2, 2, 1]`."""
  images = _separable().images
  shifts = np.arange(0, 20 * num_rows, 20, dtype=np.uint8)
  return np.stack([images + shift for shift in shifts])


def _train(trainer, keys, num_epochs, *, images=None, rows=None, state=None):
  images = jnp.asarray(_rows(1) if images is None else images)
  labels = jnp.asarray(_separable().labels)
  rows = jnp.zeros(len(keys), jnp.int32) if rows is None else jnp.asarray(rows, jnp.int32)
  state = trainer.init(keys) if state is None else state
  for _ in range(num_epochs):
    state, metrics = trainer.epoch(state, images, labels, rows, keys)
  return state, metrics


def _victim(state, victim):
  return jax.tree.map(lambda leaf: leaf[victim], state)


def _assert_close(a, b):
  for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-6)


class TrainTest(parameterized.TestCase):
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
    _assert_close(_victim(together, 1), _victim(alone, 0))
    kernel = together.params["Dense_0"]["kernel"]
    self.assertGreater(float(jnp.abs(kernel[0] - kernel[1]).max()), 1e-3)

  @parameterized.parameters(1, 2, 3, 4, 6, 100)
  def test_how_many_are_trained_at_once_changes_nothing(self, victims_at_once):
    rows, keys = train.every_row(train.victim_keys(jax.random.key(0), 3), 2)
    arguments = dict(images=_rows(2), rows=rows)
    expected, expected_metrics = _train(_trainer()[1], keys, 3, **arguments)
    trainer = _trainer(victims_at_once=victims_at_once)[1]
    state, metrics = _train(trainer, keys, 3, **arguments)
    self.assertEqual(metrics["loss"].shape, (6,))
    _assert_close((state, metrics), (expected, expected_metrics))

  def test_rows_do_not_see_each_other(self):
    """The second of three rows, against the same images as the only row."""
    _, trainer = _trainer(victims_at_once=2)
    seeds = train.victim_keys(jax.random.key(0), 2)
    rows, keys = train.every_row(seeds, 3)
    np.testing.assert_array_equal(rows, [0, 0, 1, 1, 2, 2])
    together, _ = _train(trainer, keys, 2, images=_rows(3), rows=rows)
    alone, _ = _train(trainer, seeds, 2, images=_rows(3)[1:2])
    _assert_close(_victim(together, slice(2, 4)), alone)
    kernel = together.params["Dense_0"]["kernel"]
    self.assertGreater(float(jnp.abs(kernel[0] - kernel[2]).max()), 1e-4)

  def test_the_rows_have_the_same_seeds(self):
    seeds = train.victim_keys(jax.random.key(0), 2)
    rows, keys = train.every_row(seeds, 3)
    words = jax.random.key_data(keys)
    np.testing.assert_array_equal(words, np.tile(jax.random.key_data(seeds), (3, 1)))
    same = _rows(1).repeat(3, axis=0)
    state, _ = _train(_trainer()[1], keys, 1, images=same, rows=rows)
    _assert_close(_victim(state, slice(0, 2)), _victim(state, slice(4, 6)))

  def test_the_loss_sees_the_images_of_to_float(self):
    """Every grey level, to the bit: as the attack and the certificate see it."""
    images = np.arange(256, dtype=np.uint8).reshape(1, 64, 2, 2, 1)

    def criterion(logits, labels):
      num_different = (logits != expected[labels]).sum()
      return num_different.astype(jnp.float32), {"accuracy": jnp.float32(0)}

    # The label is the image's number, so that its place in the batch does not matter.
    expected, labels = jnp.asarray(arrays.to_float(images[0])), jnp.arange(64)
    loss = types.Loss(lambda params, images, key: images, criterion)
    model = networks.make("linear", num_classes=2, image_shape=(2, 2, 1))
    trainer = train.make(model, loss, optax.sgd(0.1), image_shape=(2, 2, 1), batch_size=64)
    keys = train.victim_keys(jax.random.key(0), 1)
    rows = jnp.zeros(1, jnp.int32)
    _, metrics = trainer.epoch(trainer.init(keys), jnp.asarray(images), labels, rows, keys)
    np.testing.assert_array_equal(metrics["loss"], [0.0])

  def _recorded(self, num_epochs, **options):
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
    model = networks.make("linear", num_classes=2, image_shape=(2, 2, 1))
    options = dict(image_shape=(2, 2, 1), batch_size=4) | options
    trainer = train.make(model, loss, optax.sgd(0.0), **options)
    keys, rows = train.victim_keys(jax.random.key(0), 1), jnp.zeros(1, jnp.int32)
    state, found = trainer.init(keys), []
    images, labels = jnp.zeros((1, 8, 2, 2, 1), jnp.uint8), jnp.arange(8)
    for _ in range(num_epochs):
      state, metrics = trainer.epoch(state, images, labels, rows, keys)
      found.append((float(metrics["loss"][0]), float(metrics["accuracy"][0])))
    return np.array(found).T

  @parameterized.parameters(
    (0, [1, 1, 1]), (1, [1, 1, 1]), (2, [0.5, 1, 1]), (4, [1, 2, 3])
  )
  def test_the_adversarys_radius_warms_up(self, warmup, expected):
    strengths, _ = self._recorded(3, adversary_warmup=warmup)
    scale = 4.0 if warmup == 4 else 1.0
    np.testing.assert_allclose(strengths * scale, expected, rtol=1e-6)

  def test_noise_is_fresh_or_an_images_own(self):
    """In every epoch the image stands elsewhere in the order."""
    _, fresh = self._recorded(4)
    _, fixed = self._recorded(4, noise_choice="fixed")
    self.assertLen(set(fresh.tolist()), 4)
    np.testing.assert_array_equal(fixed, fixed[:1].repeat(4))
    _, changed = self._recorded(4, noise_choice="fixed", augment=lambda key, images: images)
    np.testing.assert_array_equal(changed, fixed)

  def test_more_victims_leave_the_first_ones_as_they_are(self):
    few = train.victim_keys(jax.random.key(0), 2)
    many = train.victim_keys(jax.random.key(0), 4)
    np.testing.assert_array_equal(jax.random.key_data(few), jax.random.key_data(many)[:2])

  def test_epochs_compose(self):
    _, trainer = _trainer()
    keys = train.victim_keys(jax.random.key(0), 2)
    whole, _ = _train(trainer, keys, 5)
    half, _ = _train(trainer, keys, 2)
    rest, _ = _train(trainer, keys, 3, state=half)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(rest), strict=True):
      np.testing.assert_array_equal(a, b)

  def test_first_step_is_the_optimisers_on_the_losss_gradient(self):
    """One batch of everything under SGD: theta - lr grad L, with the step's own noise."""
    dataset = _separable(8)
    images, labels = arrays.to_float(dataset.images), jnp.asarray(dataset.labels)
    model = networks.make("linear", num_classes=2, image_shape=(2, 2, 1))
    loss = losses.standard(model.apply)
    trainer = train.make(model, loss, optax.sgd(0.5), image_shape=(2, 2, 1), batch_size=8)
    keys = train.victim_keys(jax.random.key(0), 1)
    before = trainer.init(keys)
    params = _victim(before.params, 0)
    stored, rows = jnp.asarray(dataset.images[None]), jnp.zeros(1, jnp.int32)
    after, _ = trainer.epoch(before, stored, labels, rows, keys)
    gradient = jax.grad(lambda params: loss(params, images, labels, jax.random.key(9))[0])(
      params
    )
    expected = jax.tree.map(lambda leaf, g: leaf - 0.5 * g, params, gradient)
    for a, b in zip(jax.tree.leaves(after.params), jax.tree.leaves(expected), strict=True):
      np.testing.assert_allclose(a[0], b, rtol=1e-5, atol=1e-6)


if __name__ == "__main__":
  absltest.main()
