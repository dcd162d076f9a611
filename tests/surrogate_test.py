"""The surrogate's training: that of the attack's lower level, in parts or at once."""

import jax
import jax.numpy as jnp
import numpy as np
import small_attack
from absl.testing import absltest, parameterized

from pacd_jax.attacks import problem, surrogate


def _train(*args):
  return surrogate.train(small_attack.settings(), *args)


class SurrogateTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.data, self.settings = small_attack.setting()[0], small_attack.settings()
    self.key = jax.random.key(3)
    self.first = surrogate.init(self.settings, (8, 8, 1), self.key)

  def test_a_step_is_adams_on_the_lower_level(self):
    batch = problem.draw_batch(self.settings, self.data, self.key, 0, self.key)
    noise_key = problem.fold(self.key, problem.LOWER_NOISE, 0)
    lower = problem.lower_level(self.settings, batch, noise_key)
    u = self.data.base_images + 0.05
    descent = jax.jit(jax.value_and_grad(lower))
    value, gradient = descent(self.first.params, u[batch.rows])
    after, loss = _train(self.first, self.data, u, self.key, 1)
    np.testing.assert_allclose(loss, value, rtol=1e-5)
    # Adam's first step is its rate along the sign, where its 1e-8 is nothing beside it.
    expected = jax.tree.map(
      lambda p, g: p - 1e-2 * jnp.sign(g), self.first.params, gradient
    )
    jax.tree.map(
      lambda actual, expected, g: np.testing.assert_allclose(
        *(np.where(np.abs(g) > 1e-5, a, 0.0) for a in (actual, expected)), atol=2e-5
      ),
      after.params,
      expected,
      gradient,
    )

  def test_parts_are_the_whole(self):
    u = self.data.base_images
    whole, loss = _train(self.first, self.data, u, self.key, 7)
    part, first_loss = _train(self.first, self.data, u, self.key, 3)
    part, second_loss = _train(part, self.data, u, self.key, 4)
    self.assertEqual((int(part.age), int(whole.age)), (7, 7))
    jax.tree.map(np.testing.assert_array_equal, part, whole)
    np.testing.assert_allclose((3 * first_loss + 4 * second_loss) / 7, loss, rtol=1e-5)

  def test_it_learns(self):
    losses, trained = [], self.first
    for _ in range(3):
      trained, loss = _train(trained, self.data, self.data.base_images, self.key, 50)
      losses.append(float(loss))
    self.assertLess(losses[-1], 0.6 * losses[0])


if __name__ == "__main__":
  absltest.main()
