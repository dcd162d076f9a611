"""The inner maximum, and the two attacks that are others with it."""

import jax
import jax.numpy as jnp
import numpy as np
import small_attack
from absl.testing import absltest, parameterized

from pacd_jax.attacks import inner_maximum
from pacd_jax.attacks.error_minimizing import error_minimizing
from pacd_jax.attacks.robust_error_minimizing import robust_error_minimizing

_ROUNDS = dict(num_rounds=4, surrogate_steps=15, poison_steps=4, step_size=0.3, shared=True)


def _run(radius, **changes):
  history = []
  images = robust_error_minimizing(
    small_attack.settings(**changes),
    small_attack.setting()[0],
    jax.random.key(0),
    lambda done, values: history.append(float(values["class_loss"])),
    adversary_radius=radius,
    adversary_steps=2,
    **_ROUNDS,
  )
  return images, history


class InnerMaximumTest(parameterized.TestCase):
  @parameterized.parameters(("linf", 0.1), ("l2", 0.8))
  def test_is_in_its_ball_and_raises_the_loss(self, norm, epsilon):
    attack_data, _, model, loss = small_attack.setting()
    settings = small_attack.settings(norm=norm, epsilon=epsilon)
    robust = inner_maximum.robust(settings, radius=0.5, num_steps=3).loss
    params = model.init(jax.random.key(1), (8, 8, 1))
    images, labels = attack_data.base_images[:6], attack_data.base_labels[:6]
    images = jnp.clip(images, 0.1, 0.9)  # So that the box leaves some room.

    @jax.jit
    def run(key):
      attacked = robust.adversary(params, images, labels, key, 1.0)
      before, after = (
        loss(params, each, labels, jax.random.clone(key))[0] for each in (images, attacked)
      )
      return attacked, before, after, robust(params, images, labels, jax.random.clone(key))

    attacked, before, after, (value, _) = run(jax.random.key(2))
    order = {"linf": np.inf, "l2": 2}[norm]
    delta = np.reshape(attacked - images, (6, -1))
    sizes = np.linalg.norm(delta, order, axis=1)
    np.testing.assert_array_less(sizes, 0.5 * epsilon + 1e-6)
    self.assertGreater(sizes.min(), 0.4 * epsilon)
    self.assertGreater(after, before + 1e-3)
    self.assertAlmostEqual(float(value), float(after), places=6)

  def test_a_radius_of_zero_is_no_adversary(self):
    settings = small_attack.settings()
    self.assertIs(inner_maximum.robust(settings, radius=0.0, num_steps=1), settings)

  @parameterized.parameters(0.0, 0.5)
  def test_a_loss_with_an_adversary_is_refused(self, radius):
    loss = small_attack.loss("adversarial", small_attack.setting()[2])
    with self.assertRaisesRegex(ValueError, "the loss has an adversary"):
      inner_maximum.robust(small_attack.settings(loss=loss), radius=radius, num_steps=1)


class RobustErrorMinimizingTest(parameterized.TestCase):
  def test_without_a_radius_it_is_error_minimizing_to_the_bit(self):
    images, _ = _run(0.0)
    settings, attack_data = small_attack.settings(), small_attack.setting()[0]
    plain = error_minimizing(settings, attack_data, jax.random.key(0), **_ROUNDS)
    np.testing.assert_array_equal(images, plain)

  def test_the_adversary_leaves_the_surrogate_more_to_learn(self):
    images, history = _run(0.5)
    base = np.asarray(small_attack.setting()[0].base_images)
    self.assertLessEqual(np.abs(images - base).max(), 0.1 + 1e-6)
    self.assertTrue(np.all((images >= 0) & (images <= 1)))
    self.assertLess(history[-1], history[0])
    self.assertGreater(history[-1], 1.05 * _run(0.0)[1][-1])


if __name__ == "__main__":
  absltest.main()
