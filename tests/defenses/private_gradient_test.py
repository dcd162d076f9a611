"""Clipped and noisy gradients against a loop over images, and a victim's step by them."""

import functools

import jax
import jax.numpy as jnp
import long
import numpy as np
import optax
import pytest
from absl.testing import absltest, parameterized
from small_attack import loss as loss_of
from small_training import assert_close, make, run

from pacd_jax import losses, train
from pacd_jax.defenses import private_gradient
from pacd_jax.experiment.entries import networks

_LOSSES = ("gaussian", "standard", "macer", "smoothadv", "adversarial", "trades")


def _setting(name="gaussian", num=6):
  """A loss of a small network, its parameters, and images with labels and keys."""
  model = networks.make("linear", num_classes=3, image_shape=(4, 4, 1))
  params = model.init(jax.random.key(1), (4, 4, 1))
  images = jax.random.uniform(jax.random.key(2), (num, 4, 4, 1))
  keys = jax.random.split(jax.random.key(3), num)
  return loss_of(name, model), params, images, jnp.arange(num) % 3, keys


def _gradient(setting, clip_norm, noise_multiplier=0.0, seed=0):
  return private_gradient.value_and_grad(
    *setting[:4],
    jax.random.clone(setting[4]),
    jax.random.key(seed),
    clip_norm=clip_norm,
    noise_multiplier=noise_multiplier,
  )


def _flat(tree):
  return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


class GradientTest(parameterized.TestCase):
  @parameterized.parameters(*_LOSSES)
  @long.after(1)
  def test_without_clip_and_noise_it_is_that_of_the_batch(self, name):
    """So each of these losses is a mean of its images' terms."""
    setting = _setting(name)
    loss, *given, keys = setting
    expected = jax.value_and_grad(loss, has_aux=True)(*given, keys)
    for clip_norm in (1e9, np.inf):
      assert_close(_gradient(setting, clip_norm), expected)

  @parameterized.parameters(*_LOSSES)
  @long.after(1)
  def test_is_a_loop_over_images(self, name):
    setting = _setting(name)
    loss, params, images, labels, keys = setting
    gradients, gradient_fn = [], jax.jit(jax.grad(loss, has_aux=True))
    for i in range(len(images)):
      one = tuple(each[i : i + 1] for each in (images, labels, keys))
      gradients.append(_flat(gradient_fn(params, *one)[0]))
    norms = np.linalg.norm(gradients, axis=1)
    clip_norm = float(np.median(norms))  # Some are cut, and some are not.
    scales = np.minimum(1.0, clip_norm / norms)
    self.assertBetween(scales.min(), 0.0, 0.99)
    expected = (scales[:, None] * gradients).mean(axis=0)
    found = _flat(_gradient(setting, clip_norm)[1])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)

  @parameterized.parameters(0.1, 1e-3, 1.0)
  @long.after(1)
  def test_the_sum_is_at_most_the_clip_for_each_image(self, clip_norm):
    setting = _setting("standard")
    total = 6 * _flat(_gradient(setting, clip_norm)[1])
    self.assertLessEqual(np.linalg.norm(total), 6 * clip_norm * (1 + 1e-5))
    one = tuple(each[:1] for each in setting[2:])
    found = np.linalg.norm(_flat(_gradient((*setting[:2], *one), 1e-3)[1]))
    self.assertAlmostEqual(found, 1e-3, delta=1e-8)  # One image reaches it.

  def test_its_noise_has_the_standard_deviation_z_c_over_b(self):
    """It differs between leaves, entries and keys."""
    setting, clip_norm, multiplier = _setting(), 0.5, 3.0
    clean = _gradient(setting, clip_norm)[1]
    noises = []
    for seed in range(2):
      noisy = _gradient(setting, clip_norm, multiplier, seed)[1]
      noises.append(jax.tree.map(lambda a, b: np.asarray(a - b), noisy, clean))
    first = _flat(noises[0])
    expected = multiplier * clip_norm / 6
    spread = 4 / np.sqrt(2 * len(first))
    self.assertAlmostEqual(first.std() / expected, 1.0, delta=spread)
    self.assertAlmostEqual(first.mean() / expected, 0.0, delta=2 * spread)
    self.assertLess(abs(np.corrcoef(first, _flat(noises[1]))[0, 1]), 2 * spread)
    starts = [np.ravel(leaf)[:3] for leaf in jax.tree.leaves(noises[0])]
    self.assertLen({tuple(start) for start in starts}, len(starts))


class TrainTest(absltest.TestCase):
  @pytest.mark.long
  def test_without_clip_and_noise_victims_are_the_same(self):
    keys = train.victim_keys(jax.random.key(0), 2)
    gradient_fn = functools.partial(
      private_gradient.value_and_grad, clip_norm=1e9, noise_multiplier=0.0
    )
    expected = run(make(noise_choice="fixed")[1], keys, 2)
    found = run(make(noise_choice="fixed", gradient_fn=gradient_fn)[1], keys, 2)
    assert_close(found, expected)

  def test_each_step_and_victim_has_other_noise(self):
    """Victims whose loss is flat move by noise alone."""
    model, _ = make()
    flat = losses.standard(model.apply)._replace(
      criterion=lambda logits, labels: (0.0 * logits.sum(), {"accuracy": jnp.float32(0)})
    )
    gradient_fn = functools.partial(
      private_gradient.value_and_grad, clip_norm=1.0, noise_multiplier=16.0
    )
    sgd = dict(optimizer_of=lambda num_steps: optax.sgd(1.0), batch_size=60)
    trainer = make(loss=flat, gradient_fn=gradient_fn, **sgd)[1]
    keys = train.victim_keys(jax.random.key(0), 2)
    params = [np.asarray(trainer.init(keys).params["Dense_0"]["kernel"])]
    state = None
    for _ in range(3):
      state, _ = run(trainer, keys, 1, state=state)
      params.append(np.asarray(state.params["Dense_0"]["kernel"]))
    moves = np.diff(params, axis=0).reshape(6, -1)
    self.assertGreater(np.abs(moves).max(), 0.0)
    self.assertLess(np.abs(moves).max(), 5 * 16 / 60)
    self.assertLen({tuple(move) for move in moves.round(5)}, 6)


if __name__ == "__main__":
  absltest.main()
