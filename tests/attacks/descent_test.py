"""PGD on the poison: its steps, its budget, and what it reaches on a linear surrogate."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import small_attack
from absl.testing import absltest, parameterized

from pacd_jax import types
from pacd_jax.attacks import descent, problem, surrogates
from pacd_jax.data import batches


@functools.cache
def _surrogate():
  settings, attack_data = small_attack.settings(), small_attack.setting()[0]
  key = jax.random.key(1)
  trained = surrogates.init(settings, (8, 8, 1), key)
  base = attack_data.base_images
  return surrogates.train(settings, trained, attack_data, base, key, key, 200)[0].params


def _descend(settings, label, num_steps, *, shared, first=0, delta=None, seed=0, **size):
  attack_data = small_attack.setting()[0]
  labels = jnp.full_like(attack_data.base_labels, label)
  delta = descent.start(attack_data, shared=shared) if delta is None else delta
  key, size = jax.random.key(seed), {"step_size": 0.02} | size
  return descent.descend(
    settings, _surrogate(), attack_data, labels, delta, key, first, num_steps, **size
  )


class DescentTest(parameterized.TestCase):
  @parameterized.parameters(True, False)
  def test_stays_in_the_budget_and_the_box(self, shared):
    delta, _ = _descend(small_attack.settings(), 9, 60, shared=shared, step_size=0.05)
    base = small_attack.setting()[0].base_images
    self.assertEqual(delta.shape, (1 if shared else len(base), 8, 8, 1))
    self.assertAlmostEqual(float(jnp.abs(delta).max()), 0.1, places=6)
    if not shared:
      u = np.asarray(base + delta)
      self.assertTrue(np.all((u >= -1e-7) & (u <= 1 + 1e-7)))

  def test_steps_fall_to_zero(self):
    settings = small_attack.settings()
    steps = []
    for t in (0, 1, 3):
      delta, _ = _descend(settings, 9, 1, shared=True, first=t, zero_at=4)
      steps.append(float(jnp.abs(delta).max()))
    np.testing.assert_allclose(steps, [0.02, 0.015, 0.005], rtol=1e-5)

  @parameterized.parameters("linf", "l2")
  def test_a_shared_step_is_along_the_batchs_mean_gradient(self, norm):
    settings = small_attack.settings(norm=norm)
    attack_data = small_attack.setting()[0]
    delta, loss = _descend(settings, 9, 1, shared=True)
    key = jax.random.key(0)
    rows = batches.batch_indices(
      jax.random.fold_in(key, problem.POISON),
      0,
      num_examples=len(attack_data.base_images),
      batch_size=settings.poison_batch,
    )
    noise_key = problem.fold(key, problem.LOWER_NOISE, 0)

    def value(images):
      labels = jnp.full(len(rows), 9)
      return settings.loss(_surrogate(), images, labels, jax.random.clone(noise_key))[0]

    images = attack_data.base_images[rows]
    mean = np.asarray(jax.jit(jax.grad(value))(images).mean(axis=0))
    expected = {"linf": np.sign(mean), "l2": mean / np.linalg.norm(mean)}[norm]
    np.testing.assert_allclose(delta[0], -0.02 * expected, atol=1e-6)
    np.testing.assert_allclose(loss, jax.jit(value)(images), rtol=1e-5)

  def test_an_images_own_moves_with_its_batch_alone(self):
    delta, _ = _descend(small_attack.settings(), 9, 1, shared=False)
    moved = np.abs(delta).max(axis=(1, 2, 3)) > 0
    self.assertEqual(moved.sum(), small_attack.settings().poison_batch)

  @parameterized.parameters(True, False)
  def test_parts_are_the_whole(self, shared):
    settings = small_attack.settings()
    whole, _ = _descend(settings, 9, 8, shared=shared)
    part, _ = _descend(settings, 9, 3, shared=shared)
    part, _ = _descend(settings, 9, 5, shared=shared, first=3, delta=part)
    np.testing.assert_array_equal(part, whole)

  def test_another_key_draws_other_noise(self):
    settings = small_attack.settings()
    _, one = _descend(settings, 9, 1, shared=True)
    _, same = _descend(settings, 9, 1, shared=True)
    _, other = _descend(settings, 9, 1, shared=True, seed=1)
    self.assertEqual(float(one), float(same))
    self.assertNotEqual(float(one), float(other))

  @parameterized.parameters("macer", "smoothadv")
  def test_every_loss_of_a_victim_can_be_descended(self, name):
    model = small_attack.setting()[2]
    loss: types.Loss = small_attack.loss(name, model)
    settings = small_attack.settings(loss=loss, adversary_warmup=5)
    delta, first = _descend(settings, 8, 10, shared=True)
    _, last = _descend(settings, 8, 10, shared=True, first=10, delta=delta)
    self.assertLess(float(last), float(first))


if __name__ == "__main__":
  absltest.main()
