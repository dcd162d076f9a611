"""Gradients in parts: the whole batch's, whatever the parts, and when there are any."""

import functools

import chex
import jax
import jax.numpy as jnp
import long
from absl.testing import absltest, parameterized

from pacd_jax import evasion, losses, noise, types
from pacd_jax.models import microbatches

_PGD = evasion.Pgd(epsilon=0.5, num_steps=2)
_MADE = {
  "standard": lambda apply: losses.standard(apply),
  "gaussian": lambda apply: losses.gaussian_augmentation(apply, sigma=0.3),
  "macer": lambda apply: losses.macer(apply, sigma=0.3, num_noise_samples=3),
  "smoothadv": lambda apply: losses.smoothadv(
    apply, sigma=0.3, attack=_PGD, num_noise_samples=2
  ),
  "trades": lambda apply: losses.trades(apply, attack=_PGD),
}


def _apply(params, images):
  return jnp.tanh(images.reshape(len(images), -1) @ params["in"]) @ params["out"]


def _init(key, image_shape):
  del image_shape
  first, second = jax.random.split(key)
  return {"in": jax.random.normal(first, (9, 8)), "out": jax.random.normal(second, (8, 3))}


def _given():
  """A network, and its parameters, 12 images and labels, of JAX's default type."""
  images = jax.random.uniform(jax.random.key(1), (12, 3, 3, 1))
  params = _init(jax.random.key(0), (3, 3, 1))
  return types.Model(_init, _apply), (params, images, jnp.arange(12) % 3)


class MicrobatchesTest(parameterized.TestCase):
  @parameterized.product(size=(4, 1, 12), name=tuple(_MADE))
  @long.after(len(_MADE))
  def test_is_the_whole_batchs_gradient(self, name, size):
    """Under the same noise."""
    with jax.enable_x64(True):
      model, given = _given()
      loss = _MADE[name](model.apply)
      loss_fn = functools.partial(loss, strength=0.7)
      expected = jax.value_and_grad(loss_fn, has_aux=True)(*given, jax.random.key(2))
      options = dict(size=size, num_noise_draws=loss.num_noise_draws)
      in_parts = functools.partial(microbatches.value_and_grad, loss_fn, **options)
      found = jax.jit(in_parts)(*given, jax.random.key(2), jax.random.key(3))
    chex.assert_trees_all_close(found, expected, rtol=1e-9, atol=1e-12)

  def test_an_images_own_keys_are_used(self):
    model, given = _given()
    loss = _MADE["gaussian"](model.apply)
    keys = noise.of_images(jax.random.key(5), jnp.arange(12))
    expected = jax.value_and_grad(loss, has_aux=True)(*given, keys)
    found = microbatches.value_and_grad(
      loss, *given, jax.random.clone(keys), jax.random.key(3), size=4, num_noise_draws=1
    )
    chex.assert_trees_all_close(found, expected, rtol=2e-4, atol=2e-6)

  @parameterized.parameters(
    (1000, 100, 1, 100),
    (200, 100, 1, 0),  # No more than two parts.
    (201, 100, 1, 67),
    (200, 100, 16, 5),
    (200, 100, 300, 1),
    (211, 100, 1, 0),  # A prime number.
    (1000, 0, 1, 0),
  )
  def test_the_size_of_parts(self, batch_size, rows, copies, expected):
    self.assertEqual(microbatches.part_size(batch_size, rows, copies), expected)

  def test_the_wrong_number_of_draws_is_refused(self):
    model, given = _given()
    loss = _MADE["macer"](model.apply)
    with self.assertRaises(AssertionError):
      microbatches.value_and_grad(
        loss, *given, jax.random.key(2), jax.random.key(3), size=4, num_noise_draws=2
      )

  def test_a_batch_of_mixtures_is_whole(self):
    model, (_, images, _) = _given()
    mixed = types.Mixed(images, jnp.arange(12)[::-1], jnp.float32(0.3))
    self.assertIsNone(mixed.loss(_MADE["standard"](model.apply)).num_noise_draws)

  @parameterized.parameters(("gaussian", 4), ("macer", 1))
  def test_the_model_says_how_many(self, name, expected):
    model, _ = _given()
    model, loss = model._replace(microbatch_size=5), _MADE[name](model.apply)
    self.assertEqual(microbatches.gradient_fn(model, loss, 12).keywords["size"], expected)

  def test_none_where_the_batch_is_as_fast(self):
    """Or where a loss cannot be taken apart."""
    model, _ = _given()
    loss = _MADE["gaussian"](model.apply)
    self.assertIsNone(microbatches.gradient_fn(model, loss, 12))
    whole = loss._replace(num_noise_draws=None)
    model = model._replace(microbatch_size=5)
    self.assertIsNone(microbatches.gradient_fn(model, whole, 12))


if __name__ == "__main__":
  absltest.main()
